package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const page = "../../docs/reference/metrics.md"

// family is a metric with what is served of it.
type family struct {
	name, kind, help string
	labels           []string
	values           []string // of its first label
	sum              *float64 // of all observations of a histogram
}

// gather gathers what a collector serves.
func gather(t *testing.T, c prometheus.Collector) []family {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var families []family
	for _, g := range gathered {
		f := family{name: g.GetName(), kind: strings.ToLower(g.GetType().String()), help: g.GetHelp()}
		for _, m := range g.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				if f.sum == nil {
					f.sum = new(float64)
				}
				*f.sum += h.GetSampleSum()
			}
			for i, l := range m.GetLabel() {
				if !slices.Contains(f.labels, l.GetName()) {
					f.labels = append(f.labels, l.GetName())
				}
				if i == 0 {
					f.values = append(f.values, l.GetValue())
				}
			}
		}
		slices.Sort(f.values)
		families = append(families, f)
	}
	return families
}

// row is a row of the page.
type row struct{ Section, Name, Type, Labels, Help string }

var (
	rowInPage  = regexp.MustCompile("^\\| `(wayleave_\\w+)` \\| (\\w+) \\| (.*?) ?\\| (\\w+) \\| (.+) \\|$")
	nameInPage = regexp.MustCompile(`wayleave_\w+`)
	// ofHistogram are the series of a histogram.
	ofHistogram = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// rows are the rows of the page, by the section in which they are.
func rows(t *testing.T, text string) []row {
	t.Helper()
	var found []row
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		match := rowInPage.FindStringSubmatch(line)
		if match == nil {
			if strings.HasPrefix(line, "| `wayleave_") {
				t.Errorf("this row was not parsed: %s", line)
			}
			continue
		}
		var labels []string
		for label := range strings.SplitSeq(match[3], ", ") {
			if label = strings.Trim(label, "`"); label != "" {
				labels = append(labels, label)
			}
		}
		slices.Sort(labels)
		found = append(found, row{section, match[1], match[2], strings.Join(labels, " "), match[5]})
		if inSeconds := strings.HasSuffix(match[1], "_seconds"); inSeconds != (match[4] == "seconds") {
			t.Errorf("the unit of %s is %s", match[1], match[4])
		}
	}
	return found
}

// TestReference: the page lists what is served, all of it and nothing else.
func TestReference(t *testing.T) {
	c, a := controller(t), NewAdmission()
	c.TokenMinted()
	status := &v1alpha1.DelegationHopStatus{
		Uses:       &v1alpha1.Uses{Begun: new(int32(1))},
		Withdrawal: &v1alpha1.Withdrawal{Reason: v1alpha1.ReasonExpired, AskedAt: after(0), UnboundAt: after(time.Second)},
	}
	c.HopWritten(&v1alpha1.DelegationHopStatus{}, status)
	a.Decided("Pod", "Allow", v1alpha1.ReasonGranted)
	a.Answered("Pod", time.Millisecond)

	var served []row
	for _, process := range []struct {
		name      string
		collector prometheus.Collector
	}{{"Controller", c}, {"Webhook", a}} {
		for _, f := range gather(t, process.collector) {
			served = append(served, row{process.name, f.name, f.kind, strings.Join(f.labels, " "), f.help})
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	byName := func(a, b row) int { return strings.Compare(a.Name, b.Name) }
	listed := rows(t, string(text))
	slices.SortFunc(listed, byName)
	slices.SortFunc(served, byName)
	if diff := cmp.Diff(served, listed); diff != "" {
		t.Errorf("%s does not list the metrics (-served +page):\n%s", page, diff)
	}
	for _, name := range nameInPage.FindAllString(string(text), -1) {
		if !slices.ContainsFunc(served, func(r row) bool {
			return r.Name == name || r.Type == "histogram" && r.Name == ofHistogram.ReplaceAllString(name, "")
		}) {
			t.Errorf("%s names %s, which is not served", page, name)
		}
	}
}
