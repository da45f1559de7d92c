package shim

// limits are a process's rlimits, indexed by RLIMIT_*.
type limits [numLimits]struct{ cur, max uint64 }

// numLimits is RLIM_NLIMITS.
const numLimits = 16

// rlimInfinity is RLIM_INFINITY.
const rlimInfinity = ^uint64(0)
