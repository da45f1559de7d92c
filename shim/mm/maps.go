package mm

import (
	"fmt"
	"strings"

	"culvert/shim/abi"
)

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End uint64
	Perms      string // "rw-p"
	Offset     uint64
	MapName    // Path also holds "[heap]" and the like
}

// Mappings lists the areas in order.
func (s *Space) Mappings() []Mapping {
	s.m.mu.Lock()
	defer s.m.unlock()
	list := make([]Mapping, 0, len(s.vmas))
	for _, v := range s.vmas {
		list = append(list, s.mapping(v))
	}
	return list
}

func (s *Space) mapping(v *vma) Mapping {
	perms := [4]byte{'-', '-', '-', 'p'}
	for i, c := range "rwx" {
		if v.prot&(1<<i) != 0 {
			perms[i] = byte(c)
		}
	}
	if v.flags&fShared != 0 {
		perms[3] = 's'
	}
	m := Mapping{Start: v.start, End: v.end, Perms: string(perms[:]), Offset: v.off}
	switch {
	case v.label != "":
		m.Path, m.Offset = v.label, 0
	case v.name != nil:
		m.MapName = v.name.MapName()
	case v.obj != nil:
	case v.start <= s.brk && v.end >= s.startBrk && s.brk != 0: // vma_is_initial_heap
		m.Path = "[heap]"
	case v.start <= s.startStack && v.end >= s.startStack && s.startStack != 0: // vma_is_initial_stack
		m.Path = "[stack]"
	}
	return m
}

// escape writes a path as seq_file does for listings: newlines become octal.
func escape(path string) string { return strings.ReplaceAll(path, "\n", `\012`) }

// write formats the line as show_map_vma of fs/proc/task_mmu.c does.
func (m Mapping) write(b *strings.Builder) {
	from := b.Len()
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d ", m.Start, m.End, m.Perms, m.Offset, m.Major, m.Minor, m.Ino)
	if m.Path != "" {
		const nameColumn = 73 // 25 + 6*sizeof(void *), less one, and the blank of seq_pad
		for b.Len()-from < nameColumn {
			b.WriteByte(' ')
		}
		b.WriteString(escape(m.Path))
	}
	b.WriteByte('\n')
}

// Maps returns the content of /proc/PID/maps.
func (s *Space) Maps() string {
	var b strings.Builder
	for _, m := range s.Mappings() {
		m.write(&b)
	}
	return b.String()
}

// vmFlagNames are the mnemonics of VmFlags in smaps, in Linux's order, for the flags that exist here.
var vmFlagNames = [...]struct {
	name string
	has  func(v *vma) bool
}{
	{"rd", func(v *vma) bool { return v.prot&protRead != 0 }},
	{"wr", func(v *vma) bool { return v.prot&protWrite != 0 }},
	{"ex", func(v *vma) bool { return v.prot&protExec != 0 }},
	{"sh", func(v *vma) bool { return v.flags&fShared != 0 && v.max&protWrite != 0 }},
	{"mr", func(v *vma) bool { return v.max&protRead != 0 }},
	{"mw", func(v *vma) bool { return v.max&protWrite != 0 }},
	{"me", func(v *vma) bool { return v.max&protExec != 0 }},
	{"ms", func(v *vma) bool { return v.flags&fShared != 0 }},
	{"gd", func(v *vma) bool { return v.flags&fGrowsDown != 0 }},
	{"lo", func(v *vma) bool { return v.flags&fLocked != 0 }},
	{"lf", func(v *vma) bool { return v.flags&fLockOnFault != 0 }},
	{"dc", func(v *vma) bool { return v.flags&fDontFork != 0 }},
	{"de", func(v *vma) bool { return v.flags&fDontExpand != 0 }},
	{"ac", func(v *vma) bool { return isData(v.prot, v.flags) && v.flags&fNoReserve == 0 }},
	{"nr", func(v *vma) bool { return v.flags&fNoReserve != 0 }},
	{"wf", func(v *vma) bool { return v.flags&fWipeOnFork != 0 }},
	{"dd", func(v *vma) bool { return v.flags&fDontDump != 0 }},
	{"hg", func(v *vma) bool { return v.flags&fHuge != 0 }},
	{"nh", func(v *vma) bool { return v.flags&fNoHuge != 0 }},
}

// Smaps returns the content of /proc/PID/smaps. Dirty bits are not tracked page by page: a page with one user counts
// as private and dirty, one with several as shared and clean.
func (s *Space) Smaps() string {
	s.m.mu.Lock()
	defer s.m.unlock()
	var b strings.Builder
	for _, v := range s.vmas {
		s.mapping(v).write(&b)
		r := s.resident(v)
		locked := uint64(0)
		if v.flags&fLocked != 0 {
			locked = r.pss
		}
		row := func(name string, bytes uint64) { fmt.Fprintf(&b, "%-16s%8d kB\n", name+":", bytes>>10) }
		row("Size", v.len())
		row("KernelPageSize", abi.PageSize)
		row("MMUPageSize", abi.PageSize)
		row("Rss", r.anon+r.file+r.shmem)
		row("Pss", r.pss)
		row("Pss_Dirty", r.privDirty)
		row("Shared_Clean", r.sharedClean)
		row("Shared_Dirty", 0)
		row("Private_Clean", 0)
		row("Private_Dirty", r.privDirty)
		row("Referenced", r.referenced)
		row("Anonymous", r.anon)
		for _, name := range []string{"KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss"} {
			row(name, 0)
		}
		row("Locked", locked)
		b.WriteString("THPeligible:           0\nVmFlags: ")
		for _, f := range vmFlagNames {
			if f.has(v) {
				b.WriteString(f.name + " ")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
