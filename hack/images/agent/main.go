// Command agent runs under the hops of the samples and the demo. It sends the requests that its arguments describe to the
// API server, as its pod's account, and logs each answer as a line. Each argument is one order:
//
//	list pods in payments every 1s for 5m
//	create networkpolicy quarantine selecting app=ledger in payments
//	delete pod ledger-0 in payments
//	wait 1h
//
// It ignores SIGTERM, as a hijacked process would, and runs until it is killed.
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

// credentials is the folder of the pod's token and of the API server's CA certificate.
const credentials = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a folder, not a credential

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
			log(arg, "%v", err)
			os.Exit(1)
		}
	}
}

func log(order, format string, args ...any) {
	fmt.Printf("%s  %s: %s\n", time.Now().UTC().Format("15:04:05.000"), order, fmt.Sprintf(format, args...))
}

// order is a request to send, or a time to wait.
type order struct {
	text           string
	verb, resource string
	name           string
	namespace      string
	selecting      string
	every, during  time.Duration
}

// errEnded means that a signal ended a wait.
var errEnded = errors.New("ended by a signal")

func parse(text string) (order, error) {
	o := order{text: text}
	words := strings.Fields(text)
	if len(words) < 2 {
		return o, errors.New("expected an order like: list pods in payments")
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
		err = fmt.Errorf("unknown word %q", word)
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
			answer = err.Error() // the next one may succeed
		}
		log(o.text, "%s", answer)
		if o.every == 0 || o.during > 0 && time.Since(began) > o.during {
			return nil
		}
		next := time.After(o.every)
		for waiting := true; waiting; {
			select {
			case <-ended:
				log("SIGTERM", "ignored")
			case <-next:
				waiting = false
			}
		}
	}
}

// ask sends one request and returns the API server's answer.
func (o order) ask() (string, error) {
	client, err := connect()
	if err != nil {
		return "", err
	}
	request, err := o.request()
	if err != nil {
		return "", err
	}
	response, err := client.Do(request) //nolint:gosec // its arguments choose the request, on purpose
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

// connect reads the token each time: it is rotated while the pod runs.
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
		return nil, fmt.Errorf("unknown verb %q", o.verb)
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

// policy is a NetworkPolicy that denies all traffic.
func (o order) policy() []byte {
	key, value, _ := strings.Cut(o.selecting, "=")
	body, _ := json.Marshal(map[string]any{ // encoding maps of strings cannot fail
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": o.name},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]string{key: value}},
			"policyTypes": []string{"Ingress", "Egress"},
		},
	})
	return body
}
