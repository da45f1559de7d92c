// Package ringcheck proves of a built binary that its ring-0 code keeps the rules
// that compiled Go must keep to run without a Go runtime around it.
//
// Ring 0 maps only the pages of the code that its entry points reach: no runtime, no
// .rodata, no .data, no g. Nothing stops the compiler from emitting a call or a
// reference that needs one of these, in any version and any build mode, so the
// result is looked at instead. Two independent views are compared with the rules:
//
//   - Check disassembles the linked binary. It follows every direct call and jump
//     from the roots (the closure) and refuses what leaves the given packages, what
//     names memory by address, what reads FS or g, what it cannot decode, and VEX
//     code. It finds functions through the pclntab, which every Go binary has, so
//     it works on a stripped or position-independent one just as well.
//   - Verify builds the binary, does that, and reads the relocations of the same
//     functions in the packages' object files. These name each reference, so a type
//     descriptor, an interface table or a global is found even where the bytes look
//     harmless.
//
// Check also bounds the stack. Code of the closure must not recurse, and every
// indirect call must be on a list that says what it may reach, so the deepest path
// from each root is known.
//
// What neither view shows: the targets of indirect calls. They are the list's claim,
// and the code that fills in the table of addresses must agree with it.
package ringcheck
