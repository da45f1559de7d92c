// maxevents smaller than the ready set: nothing is lost, level-triggered rotates
// Reported in: unikraft/unikraft#1297, microsoft/mystikos#1143
// Linux: ET: 5 ready fds with maxevents=2 arrive over 3 calls, then 0; LT: repeated maxevents=1 calls visit every ready
// fd
#include "case.h"

int main(void) {
	for (int et = 0; et < 2; et++) {
		int p[5][2], e = epoll_create1(0), seen[5] = {0};
		struct epoll_event ev, o[2];
		for (int i = 0; i < 5; i++) {
			CHECK(!pipe(p[i]));
			ev.events = EPOLLIN | (et ? EPOLLET : 0);
			ev.data.u32 = i;
			CHECK(!epoll_ctl(e, EPOLL_CTL_ADD, p[i][0], &ev));
			CHECK(write(p[i][1], "x", 1) == 1);
		}
		if (et) {
			int t = 0, n;
			while ((n = epoll_wait(e, o, 2, 100)) > 0) {
				CHECK(n <= 2);
				for (int j = 0; j < n; j++) {
					seen[o[j].data.u32]++;
					t++;
				}
				CHECK(t <= 5);
			}
			CHECK(t == 5);
			for (int i = 0; i < 5; i++) CHECK(seen[i] == 1);
		} else {
			for (int k = 0; k < 5; k++) {
				CHECK(epoll_wait(e, o, 1, 100) == 1);
				seen[o[0].data.u32]++;
			}
			for (int i = 0; i < 5; i++) CHECK(seen[i] == 1);
		}
	}
	return 0;
}
