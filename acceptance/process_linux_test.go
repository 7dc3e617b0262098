package acceptance

import "syscall"

// dieWithParent makes the kernel kill the process when the test program dies.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
