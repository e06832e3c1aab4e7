//go:build unix

package gate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sightings are the pods of which a container was seen that has run.
type sightings struct {
	mu   sync.Mutex
	pods map[string]bool
}

// watchRuns watches from now on what runs in the namespace.
func (f *fixture) watchRuns() *sightings {
	f.Helper()
	s := &sightings{pods: map[string]bool{}}
	f.watch(&corev1.PodList{}, f.ns, func(o runtime.Object) {
		pod, ok := o.(*corev1.Pod)
		if !ok || !slices.ContainsFunc(pod.Status.ContainerStatuses, hasRun) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pods[pod.Name] = true
	})
	return s
}

func hasRun(c corev1.ContainerStatus) bool {
	return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
}

// count is how many pods have run whose names begin like this.
func (s *sightings) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name := range s.pods {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// watch calls a function with each object of a kind in a namespace as it is written, until the test ends.
func (f *fixture) watch(list client.ObjectList, namespace string, see func(runtime.Object)) {
	f.Helper()
	w, err := suite.admin.Watch(f.Context(), list, client.InNamespace(namespace))
	if err != nil {
		f.Fatalf("watching %T: %v", list, err)
	}
	go func() {
		defer w.Stop()
		for event := range w.ResultChan() {
			if event.Type != watch.Error { // which is how it ends with the test
				see(event.Object)
			}
		}
		if f.Context().Err() == nil {
			f.Errorf("the watch of %T has ended", list)
		}
	}()
}

// answers are the codes of the answers that a pod has logged.
func (f *fixture) answers(pod string) []string {
	f.Helper()
	log, err := suite.pods.CoreV1().Pods(f.ns).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(f.Context())
	if err != nil {
		return []string{err.Error()}
	}
	var codes []string
	for line := range strings.Lines(string(log)) {
		_, answer, _ := strings.Cut(line, ": ")
		code, _, _ := strings.Cut(strings.TrimSpace(answer), " ")
		codes = append(codes, code)
	}
	return codes
}

// answered demands that a pod has asked, and that every answer that it got was one that it is allowed.
func (f *fixture) answered(pod string) {
	f.Helper()
	f.eventually("an answer to pod "+pod, func() error {
		codes := f.answers(pod)
		if slices.ContainsFunc(codes, func(code string) bool { return code == "401" || code == "403" }) {
			f.Fatalf("pod %s was answered %v", pod, codes)
		}
		if !slices.Contains(codes, "200") {
			return fmt.Errorf("it has logged %v", codes)
		}
		return nil
	})
}

// allowed is how many requests of the hop's accounts the API server has received since a time and answered with other codes than
// 401 and 403, by its own record.
func (f *fixture) allowed(since time.Time) int {
	f.Helper()
	log, err := os.Open(suite.cluster.AuditLogPath())
	if err != nil {
		f.Fatal(err)
	}
	defer log.Close()
	n := 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var event struct {
			User                     struct{ Username string }
			ResponseStatus           struct{ Code int }
			RequestReceivedTimestamp time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event.RequestReceivedTimestamp.Before(since) {
			continue // the last line may not be complete
		}
		code := event.ResponseStatus.Code
		if strings.HasPrefix(event.User.Username, "system:serviceaccount:"+f.ns+":dhop-") && code != 401 && code != 403 {
			n++
		}
	}
	if err := lines.Err(); err != nil {
		f.Fatal(err)
	}
	return n
}
