package main

import (
	"cmp"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestReach: what is wrong with the connection is reported in one sentence.
func TestReach(t *testing.T) {
	const version, kinds = "/version", "/apis/delegation.wayleave.dev/v1alpha1"
	for name, test := range map[string]struct {
		answers map[string]int
		body    string // of each answer; {} where it is empty
		want    string
	}{
		"an old cluster": {
			answers: map[string]int{version: 200, kinds: 200}, body: `{"gitVersion": "v1.34.9"}`,
			want: "the cluster runs Kubernetes v1.34.9: Wayleave needs 1.35 or newer",
		},
		"well":            {answers: map[string]int{version: 200, kinds: 200}},
		"hidden":          {answers: map[string]int{version: 403, kinds: 403}},
		"an unknown user": {answers: map[string]int{version: 401}, want: "does not know who we are"},
		"without our kinds": {
			answers: map[string]int{version: 200, kinds: 404},
			want:    "the kinds of delegation.wayleave.dev are not installed: kubectl apply -k config/crd",
		},
		"an API server at bay": {answers: map[string]int{version: 500}, want: "cannot reach the API server http"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.answers[r.URL.Path])
				_, _ = w.Write([]byte(cmp.Or(test.body, "{}")))
			}))
			defer server.Close()
			expect(t, reach(t.Context(), &rest.Config{Host: server.URL}, 10*time.Millisecond), test.want)
		})
	}
	t.Run("another cluster", func(t *testing.T) {
		server := httptest.NewTLSServer(http.NotFoundHandler())
		defer server.Close()
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		other := rest.TLSClientConfig{CAData: certificate(t, time.Hour)["tls.crt"]}
		expect(t, reach(t.Context(), &rest.Config{Host: server.URL, TLSClientConfig: other}, 0),
			"cannot reach the API server "+server.URL+": tls: failed to verify certificate: x509: certificate signed by unknown authority")
	})
	t.Run("no listener", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		expect(t, reach(t.Context(), &rest.Config{Host: server.URL}, 0), "cannot reach the API server "+server.URL+": connection refused")
	})
}

// TestNewEnough: what cannot be read may be new enough.
func TestNewEnough(t *testing.T) {
	for served, want := range map[string]string{
		"v1.37.2": "", "v1.35.0": "", "v1.36.1-gke.100+abc": "", "": "", "main": "", "v2.0.0": "",
		"v1.34.9": "the cluster runs Kubernetes v1.34.9: Wayleave needs 1.35 or newer",
	} {
		expect(t, newEnough(served), want)
	}
}

// TestFlags: an invalid flag is reported before anything is connected to.
func TestFlags(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	for args, want := range map[string]string{
		"controller --max-fact-age=0":                    "--max-fact-age is 0s",
		"controller --sweep-interval=-1s":                "--sweep-interval is -1s",
		"controller --concurrency=0":                     "--concurrency is 0",
		"controller --api-server=here":                   `--api-server is "here"`,
		"controller --leader-elect-lease-duration=500ms": "--leader-elect-lease-duration is 500ms: it must be at least 1s",
		"controller --leader-elect-retry-period=0":       "--leader-elect-retry-period is 0s",
		"controller --leader-elect-renew-deadline=15s": "--leader-elect-renew-deadline is 15s: " +
			"it must be less than --leader-elect-lease-duration, which is 15s",
		"controller --leader-elect-retry-period=9s": "--leader-elect-renew-deadline is 10s: it must be more than 10.8s",
		"webhook --port=65536":                      "--port is 65536",
		"certs --namespace=":                        "--namespace is empty",
		"webhook --wide":                            "unknown flag: --wide; see wayleave webhook --help",
		"webhook --enforce=audit":                   `--enforce is "audit": use deny or warn`,
		"controller --enforce=":                     `--enforce is "": use deny or warn`,
		"bogus":                                     `unknown command "bogus"; see wayleave --help`,
	} {
		expect(t, execute(args), want)
	}
	expect(t, (&common{namespace: "wayleave-system"}).validate(), "")
	expect(t, (&election{}).validate(), "") // durations without an election are not read
	_, err := config(root().PersistentFlags())
	expect(t, err, "finding the cluster: KUBECONFIG names /nonexistent, which does not exist")
}

func execute(args string) error {
	cmd := root()
	cmd.SetArgs(strings.Fields(args))
	return cmd.Execute()
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
