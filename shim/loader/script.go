package loader

import "bytes"

// shebang is a parsed `#!` line.
type shebang struct {
	name   string // the interpreter's path, possibly empty when a NUL follows `#!`
	arg    string // everything after the name, inner blanks included
	hasArg bool
}

// parseShebang mirrors load_script. buf is the file's first bytes, zeros after its end. ok is false when the file is no
// script, and also when its line is malformed: the file is then tried as other formats and ends as ENOEXEC.
func parseShebang(buf *[BINPRM_BUF_SIZE]byte) (b shebang, ok bool) {
	if buf[0] != '#' || buf[1] != '!' {
		return shebang{}, false
	}
	last := len(buf) - 1
	end := bytes.IndexByte(buf[:], '\n')
	if end < 0 {
		// Without a newline the line is cut at the buffer's end. A cut argument is fine (the interpreter can read
		// the script again), a cut name is not: something must end it.
		first := nextNonBlank(buf, 2, last)
		if first < 0 || nextTerminator(buf, first, last) < 0 {
			return shebang{}, false
		}
		end = last
	}
	for isBlank(buf[end-1]) { // stops at buf[1], which is '!'
		end--
	}
	name := nextNonBlank(buf, 2, end)
	if name < 0 || name == end {
		return shebang{}, false
	}
	sep := nextTerminator(buf, name, end)
	if sep >= 0 && buf[sep] != 0 {
		if arg := nextNonBlank(buf, sep, end); arg >= 0 {
			b.arg, b.hasArg = cString(buf[arg:end]), true
		}
	}
	if sep >= 0 && b.hasArg {
		b.name = cString(buf[name:sep])
	} else {
		b.name = cString(buf[name:end])
	}
	return b, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// nextNonBlank returns the first index in [first, last] that holds no blank, or -1.
func nextNonBlank(buf *[BINPRM_BUF_SIZE]byte, first, last int) int {
	for ; first <= last; first++ {
		if !isBlank(buf[first]) {
			return first
		}
	}
	return -1
}

// nextTerminator returns the first index in [first, last] that holds a blank or a NUL, or -1.
func nextTerminator(buf *[BINPRM_BUF_SIZE]byte, first, last int) int {
	for ; first <= last; first++ {
		if isBlank(buf[first]) || buf[first] == 0 {
			return first
		}
	}
	return -1
}

// cString returns b up to its first NUL.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
