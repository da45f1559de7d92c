# What make -j4 does: many compiler-like steps at once, a sub-make under the same jobserver, and errors.
N := $(shell seq 1 24)
all: total sub
$(N:%=%.o): %.o: ; @sleep 0.0$$(($* % 4)); seq 1 $*00 | sort -rn | md5sum > $@
total: $(N:%=%.o) ; @cat $(N:%=%.o) | md5sum
.ONESHELL:
sub: total
	@cat > sub.mk <<'EOF'
	all: a b c d
	a b c d: ; @sleep 0.1; echo $$@ > $$@.out
	EOF
	$(MAKE) --no-print-directory -f sub.mk && cat a.out b.out c.out d.out
