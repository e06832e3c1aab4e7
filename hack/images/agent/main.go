// Command agent is what runs under the hops of the samples and the demo. It asks the API server what its arguments say,
// as its pod's own account, and logs each answer as a line. Each argument is one order:
//
//	list pods in payments every 1s for 5m
//	create networkpolicy quarantine selecting app=ledger in payments
//	delete pod ledger-0 in payments
//	wait 1h
//
// When it is told to end it says so and goes on, as a hijacked process would, until it is killed.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// credentials is where each pod finds its token and who signs the API server's certificate.
const credentials = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a folder, no credential

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	for _, arg := range os.Args[1:] {
		o, err := parse(arg)
		if err == nil {
			err = o.carryOut(ended)
		}
		if errors.Is(err, errEnded) {
			return
		}
		if err != nil {
			say(arg, "%v", err)
			os.Exit(1)
		}
	}
}

func say(order, format string, args ...any) {
	fmt.Printf("%s  %s: %s\n", time.Now().UTC().Format("15:04:05.000"), order, fmt.Sprintf(format, args...))
}

// order is one thing to ask for, or to wait.
type order struct {
	text           string
	verb, resource string
	name           string
	namespace      string
	selecting      string
	every, during  time.Duration
}

// errEnded says that the program was told to end while it only waited.
var errEnded = errors.New("told to end")

func parse(text string) (order, error) {
	o := order{text: text}
	words := strings.Fields(text)
	if len(words) < 2 {
		return o, errors.New("an order is like: list pods in payments")
	}
	o.verb = words[0]
	if o.verb == "wait" {
		var err error
		o.during, err = time.ParseDuration(words[1])
		return o, err
	}
	o.resource, words = words[1], words[2:]
	if len(words)%2 == 1 {
		o.name, words = words[0], words[1:]
	}
	for ; len(words) > 0; words = words[2:] {
		if err := o.set(words[0], words[1]); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *order) set(word, value string) (err error) {
	switch word {
	case "in":
		o.namespace = value
	case "selecting":
		o.selecting = value
	case "every":
		o.every, err = time.ParseDuration(value)
	case "for":
		o.during, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("%q is not understood", word)
	}
	return err
}

func (o order) carryOut(ended <-chan os.Signal) error {
	if o.verb == "wait" {
		select {
		case <-ended:
			return errEnded
		case <-time.After(o.during):
			return nil
		}
	}
	for began := time.Now(); ; {
		answer, err := o.ask()
		if err != nil {
			answer = err.Error() // the next one may be answered
		}
		say(o.text, "%s", answer)
		if o.every == 0 || o.during > 0 && time.Since(began) > o.during {
			return nil
		}
		next := time.After(o.every)
		for waiting := true; waiting; {
			select {
			case <-ended:
				say("told to end", "going on all the same")
			case <-next:
				waiting = false
			}
		}
	}
}

// ask makes one request and tells the answer as the API server gave it.
func (o order) ask() (string, error) {
	client, err := connect()
	if err != nil {
		return "", err
	}
	request, err := o.request()
	if err != nil {
		return "", err
	}
	response, err := client.Do(request) //nolint:gosec // it asks what its arguments say, on purpose
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var body struct {
		Message string
		Items   []struct{ Metadata struct{ Name string } }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&body); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	switch {
	case response.StatusCode >= http.StatusBadRequest:
		return fmt.Sprintf("%d %s", response.StatusCode, body.Message), nil
	case o.verb == "list":
		names := make([]string, len(body.Items))
		for i, item := range body.Items {
			names[i] = item.Metadata.Name
		}
		return fmt.Sprintf("%d %s", response.StatusCode, strings.Join(names, " ")), nil
	}
	return fmt.Sprint(response.StatusCode), nil
}

// connect reads the token anew each time: it is replaced while the pod runs.
func connect() (*http.Client, error) {
	ca, err := os.ReadFile(filepath.Join(credentials, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true},
	}, nil
}

var methods = map[string]string{"list": http.MethodGet, "get": http.MethodGet, "create": http.MethodPost, "delete": http.MethodDelete}

func (o order) request() (*http.Request, error) {
	method, ok := methods[o.verb]
	if !ok {
		return nil, fmt.Errorf("the verb %q is not understood", o.verb)
	}
	token, err := os.ReadFile(filepath.Join(credentials, "token"))
	if err != nil {
		return nil, err
	}
	path, body := o.target()
	url := "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")) + path
	request, err := http.NewRequest(method, url, bytes.NewReader(body)) //nolint:gosec // see ask
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

func (o order) target() (path string, body []byte) {
	switch o.resource {
	case "networkpolicy", "networkpolicies":
		path = "/apis/networking.k8s.io/v1/namespaces/" + o.namespace + "/networkpolicies"
	default:
		path = "/api/v1/namespaces/" + o.namespace + "/" + strings.TrimSuffix(o.resource, "s") + "s"
	}
	if o.verb == "create" {
		return path, o.policy()
	}
	if o.name != "" {
		path += "/" + o.name
	}
	return path, nil
}

// policy is a NetworkPolicy that lets nothing in and nothing out.
func (o order) policy() []byte {
	key, value, _ := strings.Cut(o.selecting, "=")
	body, _ := json.Marshal(map[string]any{ // maps of strings always encode
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": o.name},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]string{key: value}},
			"policyTypes": []string{"Ingress", "Egress"},
		},
	})
	return body
}
