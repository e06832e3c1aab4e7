//go:build unix

package install

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/operator"
)

// served demands that each process serves its metrics to a ServiceAccount that may read them, and to nobody else.
func (s *site) served() {
	s.Helper()
	reader := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: on, Name: "prometheus"}}
	s.must(s.admin.Create(s.Context(), reader))
	s.must(s.admin.Create(s.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "wayleave-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: on, Name: reader.Name}},
	}))
	token := &authenticationv1.TokenRequest{}
	s.must(s.admin.SubResource("token").Create(s.Context(), reader, token))
	for process, name := range map[string]string{
		"controller": `wayleave_hops{reason="Idle"}`, "webhook": "wayleave_admission_decisions_total{", "certs": "go_goroutines",
	} {
		var pods corev1.PodList
		s.must(s.admin.List(s.Context(), &pods, client.InNamespace(operator.Namespace),
			client.MatchingLabels{"app.kubernetes.io/component": process}))
		if len(pods.Items) == 0 {
			s.Errorf("there is no pod of %s", process)
		}
		found := false
		for _, pod := range pods.Items {
			url := fmt.Sprintf("https://%s:8443/metrics", pod.Status.PodIP)
			if code, _ := s.get(url, ""); code != http.StatusUnauthorized {
				s.Errorf("without a token, %s answers %d", process, code)
			}
			code, text := s.get(url, token.Status.Token)
			if code != http.StatusOK {
				s.Errorf("with a token, %s answers %d: %s", process, code, text)
			}
			found = found || strings.Contains(text, name)
		}
		if !found { // a replica of the webhook may have decided nothing yet
			s.Errorf("no replica of %s serves %s", process, name)
		}
	}
}

func (s *site) get(url, token string) (code int, text string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, url, http.NoBody)
	s.must(err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	insecure := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the processes sign these certificates themselves
	}}
	response, err := insecure.Do(request)
	s.must(err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	s.must(err)
	return response.StatusCode, string(raw)
}
