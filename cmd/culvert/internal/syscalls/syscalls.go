// Package syscalls prints the system call table.
package syscalls

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"culvert/shim"

	"github.com/spf13/pflag"
)

// row is a line of the table, and an element of the JSON array.
type row struct {
	Nr    int    `json:"nr"`
	Name  string `json:"name"`
	Grade string `json:"grade"`
	Ring0 bool   `json:"ring0"` // served without a VM exit where it can be
	Note  string `json:"note,omitempty"`
	Bound string `json:"bound,omitempty"`
}

// Command parses args, which come after "syscalls", and prints; the caller looks at what stdout says.
func Command(args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet("syscalls", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	asJSON := fs.Bool("json", false, "print JSON")
	summary := fs.Bool("summary", false, "print how many calls have each grade")
	if err := fs.Parse(args); err != nil {
		if err == pflag.ErrHelp {
			fmt.Fprint(stdout, "usage: culvert syscalls [flags]\n\n"+fs.FlagUsages())
			return 0
		}
		fmt.Fprintf(stderr, "culvert syscalls: %v\n", err)
		return 125
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "culvert syscalls: unexpected argument: %s\n", fs.Arg(0))
		return 125
	}
	rows := table()
	switch {
	case *asJSON:
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		e.Encode(rows)
	case *summary:
		printSummary(stdout, rows)
	default:
		printTable(stdout, rows)
	}
	return 0
}

func table() []row {
	ring0 := shim.Ring0()
	var rows []row
	for _, s := range shim.Table() {
		rows = append(rows, row{s.Nr, s.Name, s.Grade.String(), ring0[s.Nr], s.Note, s.Bound})
	}
	return rows
}

func printTable(w io.Writer, rows []row) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NR\tNAME\tGRADE\tRING 0\tNOTE")
	for _, r := range rows {
		ring0 := ""
		if r.Ring0 {
			ring0 = "yes"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", r.Nr, r.Name, r.Grade, ring0, r.Note)
	}
	tw.Flush()
}

func printSummary(w io.Writer, rows []row) {
	counts := map[string]int{}
	ring0 := 0
	for _, r := range rows {
		counts[r.Grade]++
		if r.Ring0 {
			ring0++
		}
	}
	fmt.Fprintf(w, "%d system calls: %d full, %d partial, %d stub; %d of them served in ring 0\n",
		len(rows), counts["full"], counts["partial"], counts["stub"], ring0)
}
