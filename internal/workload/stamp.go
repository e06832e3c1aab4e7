package workload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Stamp says who declared a hop on a Pod, Job or CronJob, and which one. Admission writes it on what a user creates; the
// annotations of what a built-in controller creates say nothing.
type Stamp struct {
	// Author is the user whose right to use the hop counts.
	Author v1alpha1.Subject
	// HopUID is the UID of the hop; empty where the hop did not exist yet.
	HopUID string
}

// stampKeys are the annotations of a stamp.
var stampKeys = []string{v1alpha1.AnnotationDeclaredBy, v1alpha1.AnnotationDeclaredByGroups, v1alpha1.AnnotationDeclaredHop}

// StampIn reads the stamp in the annotations of an object; it is not ok if there is none, or if it cannot be read.
func StampIn(annotations map[string]string) (s Stamp, ok bool) {
	s.Author.User, s.HopUID = annotations[v1alpha1.AnnotationDeclaredBy], annotations[v1alpha1.AnnotationDeclaredHop]
	if groups, has := annotations[v1alpha1.AnnotationDeclaredByGroups]; has {
		if err := json.Unmarshal([]byte(groups), &s.Author.Groups); err != nil {
			return Stamp{}, false
		}
	}
	return s, s.Author.User != ""
}

// IsStamped says whether there is a stamp in the annotations of an object, without reading it: it may list 256 groups, and one pass
// asks of each pod of a hop many times.
func IsStamped(annotations map[string]string) bool {
	return annotations[v1alpha1.AnnotationDeclaredBy] != ""
}

// annotations are those of a stamp; nil are none.
func (s *Stamp) annotations() (map[string]string, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // a nil map has no annotations
	}
	stamped := map[string]string{v1alpha1.AnnotationDeclaredBy: s.Author.User}
	if len(s.Author.Groups) > 0 {
		groups, err := json.Marshal(s.Author.Groups)
		if err != nil {
			return nil, fmt.Errorf("encoding the groups of a stamp: %w", err)
		}
		stamped[v1alpha1.AnnotationDeclaredByGroups] = string(groups)
	}
	if s.HopUID != "" {
		stamped[v1alpha1.AnnotationDeclaredHop] = s.HopUID
	}
	return stamped, nil
}

// Stamping is the patch that gives an object a stamp in place of the one that it has; nil removes it.
func (w *Workload) Stamping(s *Stamp) ([]jsonpatch.Operation, error) {
	stamped, err := s.annotations()
	return w.stampWith(stamped), err
}

// KeepingStamp is the patch that gives an object the stamp of the one that it replaces.
func (w *Workload) KeepingStamp(old *Workload) []jsonpatch.Operation { return w.stampWith(old.Stamps) }

// stampWith is the patch that gives an object the stamp in some annotations.
func (w *Workload) stampWith(annotations map[string]string) []jsonpatch.Operation {
	var p patch
	if w.Stamps == nil && slices.ContainsFunc(stampKeys, func(key string) bool { return annotations[key] != "" }) {
		p.set("add", "/metadata/annotations", map[string]any{})
	}
	for _, key := range stampKeys {
		is, has := w.Stamps[key]
		want, wanted := annotations[key]
		path := "/metadata/annotations/" + strings.ReplaceAll(key, "/", "~1")
		switch {
		case wanted && (!has || is != want):
			p.set("add", path, want)
		case !wanted && has:
			p.set("remove", path, nil)
		}
	}
	return p.operations
}

// Misstamped says whether the stamp of an object that is written now, after all mutation, is not that of its author, who is nil
// where a built-in controller creates the object.
func (w *Workload) Misstamped(author *v1alpha1.Subject, hopUID string) bool {
	s, stamped := StampIn(w.Stamps)
	if author == nil {
		return slices.ContainsFunc(stampKeys, func(key string) bool { _, has := w.Stamps[key]; return has })
	}
	return !stamped || s.Author.User != author.User || !slices.Equal(s.Author.Groups, author.Groups) || s.HopUID != "" && s.HopUID != hopUID
}

// Begins says whether the workload begins a use of its own: a Job does, and a Pod that no built-in controller makes.
func (w *Workload) Begins(fromTemplate bool) bool {
	return w.Kind == "Job" || w.Kind == kindPod && !fromTemplate
}
