package kvm

import (
	"os"
	"testing"

	"culvert/vmm/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Main(m)) }
