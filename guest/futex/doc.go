// Package futex is the table of threads that wait on futexes, in memory that all processors of a VM and the host share.
// It knows no system call, no user memory and no VM: guest kernel and shim run this code on the same words, so there is
// one truth about who waits. The reference is kernel/futex.
//
// Everything here obeys the ring-0 rules: no allocation, no package variable, no pointer in a struct, no panic.
//
// # Queues
//
// A key is hashed to a bucket: a lock and a list of nodes, in the order of arrival. A thread has one node, by the index
// of its slot, since it waits on one word. Node.Bucket is the truth of whether it is queued, and where:
//
//	       Add (by the thread)
//	0 ------------------------> b+1 --.
//	^                            |    | Move (a requeue): to another bucket, both locks held
//	'----------------------------'<---'
//	 Remove: by a waker, and the thread is woken; or by Leave, the thread itself
//
// Every change of Bucket, and of the list, is made under the lock of the bucket that it names. Bucket is also read
// without it, by the node's own thread: 0 says that a waker came; any other value has to be read again under the lock.
// Exactly one of waker and Leave takes a node out, so a wake is counted if and only if its thread sees it, as in
// Linux: a thread that a signal wakes, too, was woken by the futex if it finds itself dequeued.
//
// # Waiting and waking
//
//	thread that waits               thread that wakes
//	-----------------               -----------------
//	Lock                            store the word
//	load the word, compare          full barrier
//	Add                             Quiet? load Lock, then Head: if both are 0, nobody waits
//	Unlock                          else Lock, take nodes out, Unlock, wake their threads
//	block
//
// Comparison and Add are one step for all who hold the lock: therefore no wake is lost, none goes to a thread that
// would not have waited, and a requeue that compares under the lock moves exactly those that waited then.
//
// Quiet does without the lock. Lock is a compare-and-swap, a full barrier before the load of the word; Unlock is an
// XCHG behind Add. If Quiet finds Lock 0, then either the waiter takes it later, and loads the word behind the waker's
// store; or it has released it, and Quiet's second load finds the node. Head loaded before Lock would lose a wake, and
// so would a store of the word that is still in the waker's store buffer: hence the barrier.
// explore_test.go runs this over all interleavings with x86's store buffers, and shows of each step that it is needed.
//
// # Locks
//
// They are tried a bounded number of times; then the caller lets others run and tries again. Nothing under a lock waits
// or leaves for the host: a fault of the load of the word is noticed, the lock released, and the fault resolved after
// that. Two locks are taken in the order of the buckets' numbers.
//
// # A table that lies
//
// To the host all words are hostile: every index is masked, every walk bounded, and nothing here can do worse than to
// wake the wrong threads.
package futex
