package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// randomSteps is how many calls a run of testdata/random.c makes.
const randomSteps = "3000"

// randomSeeds are the sequences of calls that are compared.
const randomSeeds = 12

// eachRandom runs test with every seed and what this machine's Linux answers to its calls.
func eachRandom(t *testing.T, test func(t *testing.T, program, seed, want string)) {
	program := builtC(t, "testdata/random.c")
	for seed := 1; seed <= randomSeeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cmd := exec.Command(program, fmt.Sprint(seed), randomSteps)
			cmd.Env = plainEnv
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("on this machine's Linux: %v", err)
			}
			test(t, program, fmt.Sprint(seed), string(want))
		})
	}
}

// TestRandomCalls: on Linux the same seed gets the same answers.
func TestRandomCalls(t *testing.T) {
	eachRandom(t, func(t *testing.T, program, seed, want string) {
		cmd := exec.Command(program, seed, randomSteps)
		cmd.Env = plainEnv
		again, err := cmd.Output()
		if err != nil || strings.Count(want, "\n") < 3000 {
			t.Fatalf("%v, %d lines", err, strings.Count(want, "\n"))
		}
		sameLines(t, string(again), want)
	})
}

// TestKVMRandomCalls: in a VM it gets those answers too.
func TestKVMRandomCalls(t *testing.T) {
	needKVM(t)
	eachRandom(t, func(t *testing.T, program, seed, want string) {
		r := culvert(t, "", "run", "--", program, seed, randomSteps)
		if r.code != 0 {
			t.Errorf("code %d, %s", r.code, r.stderr)
		}
		sameLines(t, r.stdout, want)
	})
}

// sameLines reports the first line that differs, with those before it: what follows is its consequence.
func sameLines(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i, line := range w {
		if i >= len(g) || g[i] != line {
			before := strings.Join(w[max(0, i-5):i], "\n")
			is := "nothing"
			if i < len(g) {
				is = g[i]
			}
			t.Fatalf("line %d differs, after\n%s\n--- got\n%s\n--- Linux\n%s", i+1, before, is, line)
		}
	}
	if len(g) > len(w) {
		t.Fatalf("%d lines more than Linux: %q", len(g)-len(w), g[len(w)])
	}
}
