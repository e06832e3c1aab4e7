// Command pause is the first process of a pod of the local cluster. It holds
// the pod's namespaces and ends on a signal.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first process of a namespace ignores signals that it does not handle.
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
