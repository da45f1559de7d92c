//go:build !amd64.v3

package vmm

const vexBuild = false
