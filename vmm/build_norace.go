//go:build !race

package vmm

const raceBuild = false
