// Package queues tests that Jobs which Kueue starts and Jobs which JobSet makes run under hops. Both are built from the modules
// below managers, and run with what they ship: their permissions, their kinds and their webhooks. It is a module of its own, which
// `make nightly` runs, as root: it takes about ten minutes where Kueue is not built yet, and Kueue reads a certificate in /etc/kueue:
//
//	cd test/queues && go test -count=1 -timeout=30m -v .
package queues
