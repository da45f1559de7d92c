package shim

import "culvert/shim/vfs"

// credentials are a thread's (credentials(7), capabilities(7)). A value is never changed once a thread holds it, so
// threads share it; the vfs.Cred in it is what the file tree sees.
type credentials struct {
	vfs.Cred
	suid, sgid                        uint32
	permitted, inheritable, ambient   uint64
	bounding                          uint64
	securebits                        uint32
	noNewPrivs, keepCaps, notDumpable bool
}
