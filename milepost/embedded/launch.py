"""The step between fork and exec: it sets the user that a child runs as, and makes the child end with its parent.

It runs as a script, `python -I -S launch.py SIGNAL PARENT RUN_AS PROGRAM ARGUMENTS...`, so that no Python code runs
in a forked copy of a process that may have threads. It imports only the standard library.
"""

import ctypes
import os
import signal
import sys

OTHER_ID = 65534
AS_IS, NAMESPACE, OTHER_USER = "as-is", "namespace", "other-user"
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000


def main(arguments: list[str]) -> None:
    """Become the user that RUN_AS names, ask for SIGNAL at the parent's end, and replace this process by PROGRAM."""
    death_signal, parent, run_as, *command = arguments
    if run_as == NAMESPACE:
        enter_namespace()
    elif run_as == OTHER_USER:
        become_other_user()
    # Only now: the kernel resets the death signal when a process changes its user.
    die_with_parent(int(death_signal), int(parent))
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    os.execv(command[0], command)


def die_with_parent(death_signal: int, parent: int) -> None:
    """Get `death_signal` when the thread that started us ends; end at once if `parent` has ended already."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def enter_namespace() -> None:
    """Appear as user 65534 inside, while files are still accessed as root: no owner and no mode has to change."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setgroups([])
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{OTHER_ID} {user} 1")
    _write("/proc/self/gid_map", f"{OTHER_ID} {group} 1")


def become_other_user() -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setresgid(OTHER_ID, OTHER_ID, OTHER_ID)
    os.setresuid(OTHER_ID, OTHER_ID, OTHER_ID)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"launch: {error}")
