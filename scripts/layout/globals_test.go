package layout

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
)

// checkGlobals finds package variables that change or could. A package variable is
// accepted if it is set once where it stands, to a literal, an error or a compiled
// regular expression, and if no code of the module assigns to it or to a part of it,
// takes its address, or calls a method on it that might change it.
//
// What this cannot see is a change through a copy that shares memory: x := table;
// x[0] = 1. Tests are not looked at.
func checkGlobals(t *tree) ([]string, error) {
	g := &globals{fset: token.NewFileSet(), decls: map[string]bool{}}
	g.importer = importer.ForCompiler(g.fset, "gc", func(path string) (io.ReadCloser, error) {
		if t.exports[path] == "" {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(t.exports[path])
	})
	var loaded []*checkedPackage
	for _, p := range t.own {
		c, err := g.load(p)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, c)
	}
	for _, c := range loaded {
		c.findDecls()
	}
	for _, c := range loaded {
		c.findChanges()
	}
	return g.bad, nil
}

// tablePackages are packages whose tables refer to each other, so that the addresses of package variables stand in
// package variables, and read-only methods take them. In these a variable may be built by an expression and its address
// may be taken, and instead nothing whose type is that of such a variable may ever be assigned to, in any function.
func tablePackages() map[string]string {
	return map[string]string{
		"shim/strace": "a decoder's tables: rows name flag sets and layouts, layouts name layouts",
	}
}

type globals struct {
	fset     *token.FileSet
	importer types.Importer
	decls    map[string]bool // the module's package variables, "path.Name"
	bad      []string
}

// checkedPackage is a type-checked package without its tests.
type checkedPackage struct {
	*globals
	pkg   *pkg
	files []*ast.File
	info  *types.Info
	// tableTypes are the named struct types of package variables, in a table package.
	tableTypes map[types.Type]bool
}

func (c *checkedPackage) isTables() bool { return tablePackages()[c.pkg.name()] != "" }

// noteTableType remembers the struct type of a table, or of its elements.
func (c *checkedPackage) noteTableType(name *ast.Ident) {
	if c.tableTypes == nil {
		c.tableTypes = map[types.Type]bool{}
	}
	typ := c.info.Defs[name].Type()
	for {
		switch u := typ.Underlying().(type) {
		case *types.Array:
			typ = u.Elem()
		case *types.Slice:
			typ = u.Elem()
		case *types.Map:
			typ = u.Elem()
		case *types.Pointer:
			typ = u.Elem()
		case *types.Struct:
			c.tableTypes[typ] = true
			return
		default:
			return
		}
	}
}

// checkTableWrite reports an assignment to a field of a table's type.
func (c *checkedPackage) checkTableWrite(lhs ast.Expr) {
	sel, ok := ast.Unparen(lhs).(*ast.SelectorExpr)
	if !ok || !c.isTables() || c.info.Selections[sel] == nil {
		return
	}
	typ := c.info.Selections[sel].Recv()
	if p, ok := typ.Underlying().(*types.Pointer); ok {
		typ = p.Elem()
	} else if id, ok := sel.X.(*ast.Ident); ok && packageVariable(c.info.Uses[id]) == nil {
		return // a local copy
	}
	if c.tableTypes[typ] {
		c.report(lhs.Pos(), "a field of %s is assigned to, which tables are made of: build a new value", typ)
	}
}

func (g *globals) load(p *pkg) (*checkedPackage, error) {
	c := &checkedPackage{globals: g, pkg: p, info: &types.Info{Uses: map[*ast.Ident]types.Object{},
		Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(g.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
	}
	if len(c.files) == 0 {
		return c, nil // tests alone
	}
	conf := types.Config{Importer: g.importer, Sizes: types.SizesFor("gc", "amd64")}
	if _, err := conf.Check(p.ImportPath, g.fset, c.files, c.info); err != nil {
		g.bad = append(g.bad, fmt.Sprintf("%s: does not compile: %v", p.name(), err))
		c.files = nil // what is known of it is not enough to judge by
	}
	return c, nil
}

func (c *checkedPackage) report(pos token.Pos, format string, args ...any) {
	at := c.fset.Position(pos)
	c.bad = append(c.bad, fmt.Sprintf("%s/%s: line %d: %s", c.pkg.name(), filepath.Base(at.Filename), at.Line, fmt.Sprintf(format, args...)))
}

// findDecls looks at the package's var declarations.
func (c *checkedPackage) findDecls() {
	for _, f := range c.files {
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				c.checkSpec(gen, spec.(*ast.ValueSpec))
			}
		}
	}
}

func (c *checkedPackage) checkSpec(gen *ast.GenDecl, spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if name.Name == "_" {
			continue // asserts that a type has an interface's methods
		}
		c.decls[c.pkg.ImportPath+"."+name.Name] = true
		switch {
		case isEmbed(gen.Doc) || isEmbed(spec.Doc):
		case len(spec.Values) == 0:
			c.report(name.Pos(), "variable %s has no value here, so it must change: make it a field", name.Name)
		case c.isTables():
			c.noteTableType(name)
		case len(spec.Values) != len(spec.Names) || !c.isFixed(spec.Values[i]):
			c.report(name.Pos(), "variable %s is set by code that runs at start: make it a literal, a function or a field", name.Name)
		}
	}
}

func isEmbed(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, line := range doc.List {
		if len(line.Text) > 11 && line.Text[:11] == "//go:embed " {
			return true
		}
	}
	return false
}

// once are the functions whose results never change.
var once = map[string]bool{"errors.New": true, "fmt.Errorf": true, "regexp.MustCompile": true}

// isFixed accepts an initial value: literals, names, and calls of once or conversions
// and built-ins over such values.
func (c *checkedPackage) isFixed(e ast.Expr) bool {
	fixed := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // what a function does, it does when called
		case *ast.CallExpr:
			fixed = fixed && c.isHarmless(n.Fun)
		case *ast.UnaryExpr:
			_, literal := n.X.(*ast.CompositeLit)
			fixed = fixed && n.Op != token.ARROW && (n.Op != token.AND || literal)
		}
		return fixed
	})
	return fixed
}

// isHarmless accepts what is called: a type, a built-in but make and new, or one of once.
func (c *checkedPackage) isHarmless(fun ast.Expr) bool {
	var id *ast.Ident
	switch f := ast.Unparen(fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	case *ast.ArrayType, *ast.MapType, *ast.FuncType, *ast.InterfaceType, *ast.StarExpr:
		return true // conversion to a type written out
	default:
		return false
	}
	switch obj := c.info.Uses[id].(type) {
	case *types.TypeName:
		return true
	case *types.Builtin:
		return obj.Name() != "make" && obj.Name() != "new"
	case *types.Func:
		return obj.Pkg() != nil && once[obj.Pkg().Path()+"."+obj.Name()]
	}
	return false
}

// findChanges looks for code that changes a package variable of the module.
func (c *checkedPackage) findChanges() {
	for _, f := range c.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, lhs := range n.Lhs {
					c.change(lhs, "assigned to")
					c.checkTableWrite(lhs)
				}
			case *ast.IncDecStmt:
				c.change(n.X, "counted")
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					c.change(n.Key, "assigned to")
					c.change(n.Value, "assigned to")
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND && !c.isTables() {
					c.change(n.X, "given away by address")
				}
			case *ast.CallExpr:
				c.checkCall(n)
			}
			return true
		})
	}
}

// checkCall finds the built-ins that write to an argument, and methods that take the
// variable's address.
func (c *checkedPackage) checkCall(call *ast.CallExpr) {
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		if b, ok := c.info.Uses[fun].(*types.Builtin); ok {
			switch b.Name() {
			case "delete", "clear", "copy":
				c.change(call.Args[0], "changed by "+b.Name())
			}
		}
	case *ast.SelectorExpr:
		sel := c.info.Selections[fun]
		if sel == nil || sel.Kind() != types.MethodVal {
			return
		}
		recv := sel.Obj().(*types.Func).Signature().Recv().Type()
		_, wantsPointer := recv.(*types.Pointer)
		_, hasPointer := sel.Recv().Underlying().(*types.Pointer)
		if wantsPointer && !hasPointer && !c.isTables() {
			c.change(fun.X, "changed by its method "+fun.Sel.Name)
		}
	}
}

// change reports a change of the expression's memory if that is a package variable's.
func (c *checkedPackage) change(e ast.Expr, how string) {
	if e == nil {
		return
	}
	if v := c.rootVariable(e); v != nil && c.decls[v.Pkg().Path()+"."+v.Name()] {
		c.report(e.Pos(), "variable %s is %s: make it a field", v.Name(), how)
	}
}

// rootVariable finds the package variable that an expression is a part of.
func (c *checkedPackage) rootVariable(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if c.info.Selections[x] != nil {
				e = x.X
				continue
			}
			return packageVariable(c.info.Uses[x.Sel])
		case *ast.Ident:
			return packageVariable(c.info.Uses[x])
		default:
			return nil
		}
	}
}

func packageVariable(obj types.Object) *types.Var {
	v, ok := obj.(*types.Var)
	if !ok || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
		return nil
	}
	return v
}
