// A package with functions whose body is elsewhere (go:linkname) needs an assembly file.
