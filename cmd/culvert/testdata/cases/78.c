// membarrier and set_robust_list/get_robust_list answer sanely
// Reported in: google/gvisor#267, alpinelinux/docker-alpine#75, nanovms/nanos#1351
// Linux: MEMBARRIER_CMD_QUERY gives a mask >= 0 (or ENOSYS); each advertised command returns 0 after registration;
// unknown command EINVAL; get_robust_list returns what was set
#include "case.h"

int main(void) {
	long q = syscall(SYS_membarrier, 0, 0, 0);
	if (q < 0) CHECK(errno == ENOSYS);
	else {
		if (q & 1) CHECK(!syscall(SYS_membarrier, 1, 0, 0));
		if (q & 8) {
			CHECK(!syscall(SYS_membarrier, 16, 0, 0));
			CHECK(!syscall(SYS_membarrier, 8, 0, 0));
		}
		CHECK(syscall(SYS_membarrier, 1 << 30, 0, 0) == -1 && errno == EINVAL);
	}
	void *head = 0, *mine[3] = {mine, 0, 0};
	size_t len = 0;
	CHECK(!syscall(SYS_get_robust_list, 0, &head, &len) && len == 24 && head);
	void *old = head;
	CHECK(syscall(SYS_set_robust_list, mine, 5) == -1 && errno == EINVAL);
	CHECK(!syscall(SYS_set_robust_list, mine, 24));
	CHECK(!syscall(SYS_get_robust_list, 0, &head, &len) && head == mine);
	CHECK(!syscall(SYS_set_robust_list, old, 24));
	return 0;
}
