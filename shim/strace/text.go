package strace

import "bytes"

// pathMax is PATH_MAX of include/uapi/linux/limits.h.
const pathMax = 4096

// escapes are the characters that C strings write with a letter.
var escapes = [...]struct{ c, letter byte }{
	{'"', '"'}, {'\\', '\\'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\v', 'v'},
}

// quote appends b as a C string. Octal escapes are as short as the byte that follows allows.
func (d *decoder) quote(b []byte) *decoder {
	d.str(`"`)
next:
	for i, c := range b {
		for _, e := range escapes {
			if c == e.c {
				d.b = append(d.b, '\\', e.letter)
				continue next
			}
		}
		switch {
		case c >= ' ' && c < 0x7f:
			d.b = append(d.b, c)
		case i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '7':
			d.b = append(d.b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		case c >= 0o100:
			d.b = append(d.b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		case c >= 0o10:
			d.b = append(d.b, '\\', '0'+c>>3, '0'+c&7)
		default:
			d.b = append(d.b, '\\', '0'+c)
		}
	}
	return d.str(`"`)
}

// quoteHex appends b as a C string of hexadecimal escapes.
func (d *decoder) quoteHex(b []byte) *decoder {
	const digits = "0123456789abcdef"
	d.str(`"`)
	for _, c := range b {
		d.b = append(d.b, '\\', 'x', digits[c>>4], digits[c&15])
	}
	return d.str(`"`)
}

// buffer shows n bytes at addr, cut at maxString.
func (d *decoder) buffer(addr, n uint64) { d.bufferAs(addr, n, (*decoder).quote) }

func (d *decoder) bufferAs(addr, n uint64, quote func(*decoder, []byte) *decoder) {
	if addr == 0 {
		d.addr(addr)
		return
	}
	b, ok := d.load(addr, int(min(n, maxString)))
	if !ok {
		d.addr(addr)
		return
	}
	quote(d, b)
	if n > maxString {
		d.str("...")
	}
}

// cstring shows the string at addr, cut at max bytes.
func (d *decoder) cstring(addr uint64, max int) {
	if addr == 0 {
		d.addr(addr)
		return
	}
	b := d.loadString(addr, max+1)
	end := bytes.IndexByte(b, 0)
	switch {
	case end >= 0:
		d.quote(b[:end])
	case len(b) > max:
		d.quote(b[:max]).str("...")
	default: // memory ended first
		d.addr(addr)
	}
}

// fixed shows a character array that may fill its field.
func (d *decoder) fixed(b []byte) *decoder {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return d.quote(b)
}

// stringArray shows a NULL-terminated array of strings: argv.
func (d *decoder) stringArray(addr uint64) {
	if addr == 0 {
		d.addr(addr)
		return
	}
	for i := uint64(0); ; i++ {
		p, ok := d.load64(addr + 8*i)
		if !ok {
			if i == 0 {
				d.addr(addr)
				return
			}
			d.str(", ... /* ").hex(addr + 8*i).str(" */]")
			return
		}
		switch {
		case i == 0:
			d.str("[")
		case p != 0:
			d.str(", ")
		}
		if p == 0 {
			d.str("]")
			return
		}
		if i >= maxString {
			d.str("...]")
			return
		}
		d.cstring(p, maxString)
	}
}

// stringCount shows how long a NULL-terminated array of strings is: envp.
func (d *decoder) stringCount(addr uint64) {
	d.addr(addr)
	if addr == 0 {
		return
	}
	n, ended := 0, false
	for !ended {
		p, ok := d.load64(addr + 8*uint64(n))
		if !ok {
			break
		}
		if ended = p == 0; !ended {
			n++
		}
	}
	if n == 0 && !ended {
		return
	}
	d.str(" /* ").int(int64(n)).str(" var")
	if n != 1 {
		d.str("s")
	}
	if !ended {
		d.str(", unterminated")
	}
	d.str(" */")
}

// array shows count elements of size bytes at addr, at most maxString of them.
func (d *decoder) array(addr, count uint64, size int, show func(d *decoder, b []byte)) {
	if addr == 0 {
		d.addr(addr)
		return
	}
	if count == 0 {
		d.str("[]")
		return
	}
	if count > (^uint64(0)-addr)/uint64(size) {
		d.addr(addr)
		return
	}
	for i := uint64(0); i < count; i++ {
		at := addr + i*uint64(size)
		b, ok := d.load(at, size)
		if i > 0 {
			d.str(", ")
		}
		if !ok {
			if i == 0 {
				d.addr(addr)
				return
			}
			d.str("... /* ").hex(at).str(" */")
			break
		}
		if i == 0 {
			d.str("[")
		}
		if i >= maxString || d.full() {
			d.str("...")
			break
		}
		show(d, b)
	}
	d.str("]")
}
