package workload

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// vdso looks clock_gettime(2) up in the vDSO, as a C library does when it starts. Where there is none w.clock stays 0,
// and the system call is made.
func vdso(w *work) error {
	const atSysinfoEhdr = 33 // AT_SYSINFO_EHDR, the vDSO's address
	words, err := unix.Auxv()
	if err != nil {
		return fmt.Errorf("auxiliary vector: %w", err)
	}
	for _, word := range words {
		if word[0] == atSysinfoEhdr && word[1] != 0 {
			w.clock = vdsoSymbol(word[1], "__vdso_clock_gettime")
		}
	}
	return nil
}

// vdsoSymbol finds a function in the ELF image that the kernel mapped at base, by way of its dynamic section, which is
// all that the kernel promises (Documentation/ABI/stable/vdso). It returns 0 if there is none.
func vdsoSymbol(base uintptr, name string) uintptr {
	const (
		headerSize = 56 // of a program header
		ptLoad     = 1
		ptDynamic  = 2
		dtStrtab   = 5
		dtSymtab   = 6
		symbolSize = 24
	)
	var dynamic, bias uintptr
	at, n := base+uintptr(load64(base+32)), int(load(base+56))
	for ; n > 0; n, at = n-1, at+headerSize {
		offset, address := uintptr(load64(at+8)), uintptr(load64(at+16))
		switch load64(at) & 0xffffffff {
		case ptLoad:
			bias = base + offset - address
		case ptDynamic:
			dynamic = base + offset
		}
	}
	if dynamic == 0 {
		return 0
	}
	var symbols, text uintptr
	for ; load64(dynamic) != 0; dynamic += 16 {
		value := uintptr(load64(dynamic+8)) + bias
		switch load64(dynamic) {
		case dtStrtab:
			text = value
		case dtSymtab:
			symbols = value
		}
	}
	// The hash tables, of two kinds, would tell the number of symbols. Linkers put the names behind the last of them.
	for ; symbols != 0 && symbols+symbolSize <= text; symbols += symbolSize {
		if defined := load64(symbols)>>48 != 0; defined && equal(text+uintptr(load64(symbols)&0xffffffff), name) {
			return uintptr(load64(symbols+8)) + bias
		}
	}
	return 0
}

// equal reports whether the string at an address, which ends with a zero byte, is s.
func equal(at uintptr, s string) bool {
	for i := range len(s) {
		if load(at+uintptr(i)) != s[i] {
			return false
		}
	}
	return load(at+uintptr(len(s))) == 0
}
