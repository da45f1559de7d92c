"""Runs modules, or classes of modules, of Python's own test suite and prints one line for each test: its outcome, a tab,
its name, and for a skip a tab and why. Tests named after -x are left out. What the tests print themselves goes to standard
error. With -local first, their TCP sockets are AF_UNIX ones. With -list first, it prints the modules' classes, each with a tab and its number
of tests."""
import collections, errno, os, socket, sys, time, unittest


class Local(socket.socket):
    """An AF_UNIX socket that has a TCP socket's addresses, and the connection of which is said to take time."""

    def __init__(self, *args, **kwargs):
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)

    def getsockname(self):
        return '127.0.0.1', super().getsockname()

    def connect(self, address):
        super().connect(address[1])
        if not self.getblocking():
            raise OSError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))


def local_server(address):
    server = Local()
    server.bind('')
    server.listen()
    return server


class Result(unittest.TextTestResult):
    """Tells out of every outcome, in the order in which tests end."""

    def tell(self, outcome, test, *more):
        out.write('\t'.join((outcome, test.id(), *more)).replace('\n', ' ') + '\n')

    def startTest(self, test):
        super().startTest(test)
        self.bad, self.since = False, time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        took = time.monotonic() - self.since
        if took > 5:
            sys.stderr.write(f'{test.id()} took {took:.0f} s\n')

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self.bad:
            self.tell('ok', test)

    def addError(self, test, err):
        super().addError(test, err)
        self.tell('error', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell('fail', test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None and not self.bad:
            self.bad = True
            self.tell('fail', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.tell('skip', test, reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.tell('ok', test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.tell('unexpected', test)


def cases(suite):
    """The tests of suite, one by one."""
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from cases(t)
        else:
            yield t


def chosen(suite, left_out):
    """The tests of suite that are not left out."""
    return unittest.TestSuite(t for t in cases(suite) if t.id() not in left_out)


out = os.fdopen(os.dup(1), 'w', buffering=1)
os.dup2(2, 1)
listing = sys.argv[1] == '-list'
if listing:
    del sys.argv[1]
if sys.argv[1] == '-local':
    del sys.argv[1]
    socket.create_server, socket.socket = local_server, Local
at = sys.argv.index('-x') if '-x' in sys.argv else len(sys.argv)
modules, left_out = sys.argv[1:at], set(sys.argv[at + 1:])
sys.argv[1:] = []
suite = unittest.defaultTestLoader.loadTestsFromNames('test.' + m for m in modules)
if listing:
    count = collections.Counter(t.id().rpartition('.')[0].removeprefix('test.') for t in cases(suite))
    out.writelines(f'{name}\t{n}\n' for name, n in sorted(count.items()))
    sys.exit()
result = unittest.TextTestRunner(resultclass=Result, stream=sys.stderr, verbosity=2).run(chosen(suite, left_out))
sys.exit(not result.wasSuccessful())
