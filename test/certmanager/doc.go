// Package certmanager tests the chart's value certificate.from=certManager with cert-manager itself: its controllers and CA injector,
// built from the module manager, and its kinds and permissions, of its own chart. Wayleave runs on a node. It is a module of its own,
// which `make nightly` runs, as root; it takes some minutes more where cert-manager is not built yet:
//
//	cd test/certmanager && go test -count=1 -timeout=30m -v .
package certmanager
