// wait family: WNOHANG, WNOWAIT, status encodings, stop/continue, process groups
// Reported in: occlum/occlum#1247, sysprog21/elfuse#218; related: golang/go#51246 (os uses waitid to avoid pid reuse)
// Linux: WNOHANG=0 while running; WNOWAIT leaves it waitable; si_code CLD_EXITED/CLD_KILLED; WUNTRACED/WCONTINUED
// reported; wrong pgid: ECHILD
#include "case.h"

int main(void) {
	int s;
	siginfo_t si;
	pid_t k = fork();
	if (!k) {
		ms(200);
		_exit(17);
	}
	CHECK(waitpid(k, &s, WNOHANG) == 0);
	CHECK(!waitid(P_PID, k, &si, WEXITED | WNOWAIT));
	CHECK(si.si_pid == k && si.si_code == CLD_EXITED && si.si_status == 17);
	memset(&si, 0, sizeof si);
	CHECK(!waitid(P_ALL, 0, &si, WEXITED | WNOWAIT | WNOHANG) && si.si_pid == k);
	CHECK(waitpid(k, &s, 0) == k && WIFEXITED(s) && WEXITSTATUS(s) == 17);
	CHECK(waitpid(k, &s, 0) == -1 && errno == ECHILD);
	k = fork();
	if (!k) {
		setpgid(0, 0);
		for (;;) pause();
	}
	while (getpgid(k) != k) ms(5);
	CHECK(waitpid(-getpid() - 12345, &s, WNOHANG) == -1 && errno == ECHILD);
	CHECK(waitpid(-k, &s, WNOHANG) == 0);
	kill(k, SIGSTOP);
	CHECK(waitpid(-k, &s, WUNTRACED) == k && WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP);
	kill(k, SIGCONT);
	CHECK(waitpid(k, &s, WCONTINUED) == k && WIFCONTINUED(s));
	kill(-k, SIGTERM);
	CHECK(!waitid(P_PGID, k, &si, WEXITED) && si.si_code == CLD_KILLED && si.si_status == SIGTERM);
	CHECK(waitpid(-1, &s, WNOHANG) == -1 && errno == ECHILD);
	struct rusage ru;
	k = fork();
	if (!k) {
		double e = now() + 60;
		while (now() < e) {
		}
		_exit(0);
	}
	CHECK(wait4(k, &s, 0, &ru) == k);
	CHECK(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec + ru.ru_utime.tv_sec * 1000000 > 5000);
	return 0;
}
