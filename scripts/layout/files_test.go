package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxLines bounds a file: what is longer is two things.
const maxLines = 700

// unfinished finds the words that mark work left undone.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// checkFiles checks each file of each package by itself, and the packages' comments.
func checkFiles(t *tree) ([]string, error) {
	var bad []string
	for _, p := range t.own {
		documented := false
		for _, name := range slices.Concat(p.goFiles(), p.SFiles, p.HFiles) {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			place := p.name() + "/" + name
			for _, why := range checkText(src) {
				bad = append(bad, place+": "+why)
			}
			if filepath.Ext(name) != ".go" {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", place, err)
			}
			for _, why := range checkGo(p, name, src, file) {
				bad = append(bad, place+": "+why)
			}
			isTest := strings.HasSuffix(name, "_test.go")
			documented = documented || file.Doc != nil && (!isTest || len(p.GoFiles) == 0)
		}
		if !documented {
			bad = append(bad, p.name()+": the package has no doc comment")
		}
	}
	return bad, nil
}

// checkText checks what holds of any source.
func checkText(src []byte) []string {
	var bad []string
	lines := bytes.Split(src, []byte("\n"))
	if len(lines) > maxLines+1 { // what follows the last newline is no line
		bad = append(bad, fmt.Sprintf("%d lines, more than %d: split it", len(lines)-1, maxLines))
	}
	for i, line := range lines {
		if word := unfinished.Find(line); word != nil {
			bad = append(bad, fmt.Sprintf("line %d says %s: finish it, or file an issue", i+1, word))
		}
	}
	return bad
}

// checkGo checks form, and where unsafe is used. Package guest runs in ring 0 and has
// checks of its own; tests look into what they test.
func checkGo(p *pkg, name string, src []byte, file *ast.File) []string {
	var bad []string
	if formatted, err := format.Source(src); err != nil || !bytes.Equal(formatted, src) {
		bad = append(bad, "not as gofmt writes it")
	}
	for _, imp := range file.Imports {
		allowed := p.name() == "guest" || strings.HasSuffix(name, "_unsafe.go") || strings.HasSuffix(name, "_test.go")
		if imp.Path.Value == `"unsafe"` && !allowed {
			bad = append(bad, "uses unsafe: such code goes to a file named *_unsafe.go, which says why it is sound")
		}
	}
	return bad
}
