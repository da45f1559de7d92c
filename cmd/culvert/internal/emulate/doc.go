// Package emulate runs commands in a throw-away copy of this machine that has a
// real /dev/kvm, under QEMU's software emulation of a processor with SVM. It is
// for machines without KVM: to try culvert there, and to test it anywhere.
// Emulation is no boundary for strangers' code.
//
//	culvert emulate -- CMD ARGS...         one run in a machine of its own
//	culvert emulate --keep -- CMD ARGS...  the same in a machine that stays for later runs
//	culvert emulate --stop                 ends the machine that stays
//
// The command sees the host's files as they are when it starts, as the same user
// in the same directory; what it writes is thrown away, except in what --share
// names (a file or directory, written for real). stdin, stdout, stderr, signals,
// the exit code and a terminal pass through. 127 and 126 mean that the command
// could not be executed, 125 that the machine failed, with one line why.
// --cpus, --mem (4G), --cpu (default, fxsave, avx2, or QEMU's -cpu; also
// $CULVERT_EMULATE_CPU) choose the machine; --fresh ignores the one that stays;
// --idle (10m) is how long that waits for the next run. All its runs share one
// network and one control group tree. It needs the Debian package
// qemu-system-x86 and gets the kernel by apt itself. Under $XDG_CACHE_HOME/culvert
// it keeps that and up to three snapshots of started machines; --no-snapshot
// starts from cold. CULVERT_EMULATE_DEBUG=1 shows how the start went.
//
// # The protocol
//
// Package wire has the frames. The host sends to init in the machine, on a
// virtio-serial port, and init answers; with a machine that stays, its keeper
// relays between that port and the clients' sockets, renumbering sessions. A run
// goes through these states:
//
//	outside         frame              inside
//	starting  ---- Start ---->         waits for a free root export, then a supervisor
//	                                   mounts, moves its root, finds the command
//	          <--- Ready ------        prepared: nothing of the command has happened
//	          ---- Go ------->         begun: the command is executed
//	running   <--- Data, End, Credit, Stop --->  streams, each within its credit
//	          ---- Signal, Resize -->
//	ended     <--- Exit ------         all output is sent, all its processes are gone
//
// Fail takes the place of Ready or Exit when the command could not be executed.
// Kill, or the end of the client's socket, ends a run in any state. Before Go
// the outside may start again elsewhere, because nothing has happened; after
// it, never. Init says Beat once a second. A machine that says nothing for 30 s
// is killed, and its runs get Died: those that had not begun are tried again, up
// to three times in all. A keeper that is of another binary or configuration
// answers Start with Refuse; the client then goes without it or replaces it.
package emulate
