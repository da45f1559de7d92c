# fork, open in all its forms, signals, select and locks.
use strict; use warnings; use IO::Select; use IO::Handle; use POSIX qw(:sys_wait_h _exit); use Fcntl qw(:flock); use Socket; use IPC::Open3;
$| = 1;
open(my $ls, '-|', 'sh', '-c', 'echo one; echo two; exit 3') or die; my @l = <$ls>; close $ls; print "read ", scalar(@l), " ", $? >> 8, "\n";
open(my $sort, '|-', 'sort -n') or die; print $sort "$_\n" for 10, 9, 100, 1; close $sort; print "status $?\n";
my $pid = open(my $kid, '-|') // die; if (!$pid) { print "from child $_\n" for 1 .. 3; exit 5 } print "got $_" while <$kid>; close $kid; print $? >> 8, "\n";
my %kids; for my $i (1 .. 10) { my $p = fork // die; if (!$p) { select undef, undef, undef, 0.01 * $i; _exit($i) } $kids{$p} = $i }
my $sum = 0; while ((my $p = wait) > 0) { die if $kids{$p} != $? >> 8; $sum += $? >> 8 } print "sum $sum\n";
my $n = 0; $SIG{USR1} = sub { $n++ }; kill USR1 => $$ for 1 .. 5; print "signals $n\n";
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; sleep 10; }; print "after $@";
$SIG{CHLD} = 'IGNORE'; my $z = fork; if (!$z) { exit 0 } sleep 1; print "reaped ", waitpid($z, 0), "\n"; $SIG{CHLD} = 'DEFAULT';
socketpair(my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die; if (!fork) { close $one; while (<$two>) { print $two uc }; $two->flush; exit } close $two; print $one "hello\nworld\n"; $one->flush; shutdown $one, 1; print <$one>; wait;
my ($in, $out); my $p3 = open3($in, $out, undef, 'sh', '-c', 'cat; echo err >&2; exit 2'); print $in "x" x 50000, "\n"; close $in; my $len = 0; $len += length while <$out>; waitpid $p3, 0; print "open3 $len ", $? >> 8, "\n";
pipe(my $r, my $w) or die; my $s = IO::Select->new($r); print "ready ", scalar(my @none = $s->can_read(0.1)), "\n"; syswrite $w, "z" x 4000; print "ready ", scalar(my @some = $s->can_read(1)), "\n"; sysread $r, my $buf, 99999; print length $buf, "\n";
open(my $f, '+>', 'lock') or die; flock $f, LOCK_EX or die; if (!fork) { open(my $g, '<', 'lock') or die; print flock($g, LOCK_EX | LOCK_NB) ? "free\n" : "held\n"; exit } wait;
print `echo backtick; exit 4`, $? >> 8, "\n"; system 'kill -9 $$'; print $? & 127, "\n"; my @w = map { `echo $_` } 1 .. 20; print scalar(@w), " $w[19]";
my %h; $h{$_ % 1000} .= $_ for 1 .. 100000; print scalar(keys %h), "\n"; printf "%s\n", join ',', (sort { $a <=> $b } map { $_ * 7 % 11 } 1 .. 10);
opendir my $d, '/proc/self/fd' or die; print "fds\n" if grep /^0$/, readdir $d; exec 'sh', '-c', 'exit 33';
