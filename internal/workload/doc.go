// Package workload says what a pod, or a template that makes pods, declares about its delegation, what a pod is given
// when it is created, and what keeps it from running as its hop alone. It is pure: the admission webhooks, a controller
// that opens a scheduling gate, and the command line ask it and get the same answers.
package workload
