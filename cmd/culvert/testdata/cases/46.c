// vfork: parent suspended until exec/_exit, address space shared
// Reported in: dotnet/corefx#33289 (WSL1 vfork corrupts memory), FEX-Emu/FEX#2690, shadow/shadow#3123
// Linux: parent does not run until the child _exits/execs; child's stores are visible; holds for raw
// clone(CLONE_VM|CLONE_VFORK)
#include "case.h"

static volatile int x;
static char stk[65536] __attribute__((aligned(16)));
static int kid(void *a) {
	(void)a;
	usleep(200000);
	x += 100;
	syscall(SYS_exit_group, 7);
	return 0;
}
int main(int argc, char **argv) {
	if (argc > 1) {
		ms(300);
		return 5;
	}
	double t = now();
	pid_t k = vfork();
	if (!k) {
		usleep(200000);
		x = 1;
		_exit(3);
	}
	CHECK(k > 0 && x == 1 && now() - t >= 190);
	int s = reap(k);
	CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 3);
	t = now();
	k = clone(kid, stk + sizeof stk, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
	CHECK(k > 0 && x == 101 && now() - t >= 190);
	s = reap(k);
	CHECK(WEXITSTATUS(s) == 7);
	k = vfork();
	if (!k) {
		x = 55;
		execl("/proc/self/exe", argv[0], "child", (char *)0);
		_exit(127);
	}
	CHECK(x == 55);
	int st;
	CHECK(waitpid(k, &st, WNOHANG) == 0); /* parent resumed at exec, child still sleeping */
	s = reap(k);
	CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 5);
	return 0;
}
