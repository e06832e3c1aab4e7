// Command probe runs in a pod. It asks the API server for its identity, with the
// token of its ServiceAccount, and serves the answer. `probe get URL` fetches a
// page.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const credentials = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "get" {
		response, err := (&http.Client{Timeout: 5 * time.Second}).Get(args[1])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	}
	answer, err := ask()
	if err != nil {
		return err
	}
	fmt.Println(answer)
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, answer)
	}))
}

func ask() (string, error) {
	ca, err := os.ReadFile(credentials + "ca.crt")
	if err != nil {
		return "", err
	}
	token, err := os.ReadFile(credentials + "token")
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	review := `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	request, err := http.NewRequest(http.MethodPost, "https://"+os.Getenv("KUBERNETES_SERVICE_HOST")+
		"/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader(review))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
