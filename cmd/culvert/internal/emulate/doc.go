// Package emulate runs commands in a throw-away copy of this machine that has a
// real /dev/kvm, under QEMU's software emulation of a processor with SVM. It is
// for machines without KVM: to try culvert there, and to test it anywhere.
// Emulation is no boundary for strangers' code.
package emulate
