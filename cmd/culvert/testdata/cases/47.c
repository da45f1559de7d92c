// posix_spawn reports exec failure to the parent
// Reported in: python/cpython#131398 (qemu-user), DynamoRIO/dynamorio#5903
// Linux: posix_spawn of a missing file returns ENOENT (dir: EACCES) and leaves no zombie; file actions
// (dup2/close/open) and SETSIGDEF work
#include "case.h"

extern char **environ;
int main(int argc, char **argv) {
	if (argc > 1) {
		CHECK(fcntl(9, F_GETFD) == -1);
		(void)!write(1, "spawned", 7);
		return 6;
	}
	pid_t k;
	char *av[] = {"x", 0}, *bv[] = {argv[0], "child", 0}, b[16];
	int p[2], s;
	CHECK(posix_spawn(&k, "/nonexistent/prog", 0, 0, av, environ) == ENOENT);
	CHECK(posix_spawn(&k, "/tmp", 0, 0, av, environ) == EACCES);
	CHECK(waitpid(-1, &s, WNOHANG) == -1 && errno == ECHILD);
	CHECK(!pipe(p));
	CHECK(dup2(p[0], 9) == 9);
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	posix_spawn_file_actions_addclose(&fa, 9);
	CHECK(posix_spawn(&k, "/proc/self/exe", &fa, 0, bv, environ) == 0);
	close(p[1]);
	s = reap(k);
	CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 6);
	CHECK(read(p[0], b, 16) == 7 && !memcmp(b, "spawned", 7));
	return 0;
}
