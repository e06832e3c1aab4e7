package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// reviewer is an API server that knows two tokens, of which one may read metrics.
func reviewer(t *testing.T) *rest.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		switch r.URL.Path {
		case "/apis/authentication.k8s.io/v1/tokenreviews":
			review := &authenticationv1.TokenReview{}
			_ = json.NewDecoder(r.Body).Decode(review)
			review.Status.Authenticated = review.Spec.Token == "prometheus" || review.Spec.Token == "mallory"
			review.Status.User.Username = review.Spec.Token
			answer = review
		case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
			review := &authorizationv1.SubjectAccessReview{}
			_ = json.NewDecoder(r.Body).Decode(review)
			a := review.Spec.NonResourceAttributes
			review.Status.Allowed = review.Spec.User == "prometheus" && a != nil && a.Verb == "get" && a.Path == "/metrics"
			answer = review
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

// TestMetricsAreGuarded: only who may get /metrics gets it, unless the operator turns that off.
func TestMetricsAreGuarded(t *testing.T) {
	for name, test := range map[string]struct {
		args, scheme, token string
		want                int
	}{
		"without a token":      {scheme: "https", want: http.StatusUnauthorized},
		"with an unknown one":  {scheme: "https", token: "forged", want: http.StatusInternalServerError}, // controller-runtime's answer
		"without permission":   {scheme: "https", token: "mallory", want: http.StatusForbidden},
		"with permission":      {scheme: "https", token: "prometheus", want: http.StatusOK},
		"by HTTP":              {scheme: "http", token: "prometheus", want: http.StatusBadRequest},
		"by HTTP, turned off":  {args: "--metrics-secure=false", scheme: "http", want: http.StatusOK},
		"by HTTPS, turned off": {args: "--metrics-secure=false", scheme: "https", want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, c := root(), &common{}
			c.bind(cmd.Flags())
			if err := cmd.Flags().Parse(append(strings.Fields(test.args), "--metrics-bind-address=127.0.0.1:0")); err != nil {
				t.Fatal(err)
			}
			address := serve(t, c.metrics(), reviewer(t))
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.scheme+"://"+address+"/metrics", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if test.token != "" {
				req.Header.Set("Authorization", "Bearer "+test.token)
			}
			response, err := client.Do(req)
			if test.want == 0 {
				if err == nil {
					t.Errorf("it answers with %s", response.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if shown := strings.Contains(string(body), "go_goroutines"); response.StatusCode != test.want || shown != (test.want == http.StatusOK) {
				t.Errorf("it answers with %s, want %d; metrics are in it: %t", response.Status, test.want, shown)
			}
		})
	}
}

// serve serves metrics until the test ends, and returns the address.
func serve(t *testing.T, o metricsserver.Options, cfg *rest.Config) string {
	t.Helper()
	server, err := metricsserver.NewServer(o, cfg, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	bound, ok := server.(interface{ GetBindAddr() string })
	if !ok {
		t.Fatalf("a %T does not say its address", server)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	gomega.NewWithT(t).Eventually(bound.GetBindAddr, 10*time.Second).ShouldNot(gomega.BeEmpty())
	return bound.GetBindAddr()
}
