package workload

import (
	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Question is the workload as a verdict looks at it. FromTemplate says whether a built-in controller creates it out of
// its owner's template, and use whether its author may use the hop.
func (w *Workload) Question(fromTemplate bool, use delegation.Answer) *delegation.Workload {
	question := &delegation.Workload{
		Kinds: w.Kinds(fromTemplate), Template: w.Template, Manual: w.manual(fromTemplate),
		ServiceAccountName: w.Spec.ServiceAccountName, Images: Images(&w.Spec), Secrets: Secrets(&w.Spec), Use: use,
		Violates: w.violates(),
	}
	rules, err := w.Requires()
	if err != nil {
		question.RequiresProblem = err.Error()
	}
	question.Requires = rules
	return question
}

// requiresField is the field of a verdict's finding about what a workload requires.
const requiresField = "metadata.annotations[" + v1alpha1.AnnotationRequires + "]"

// FieldOf is the field, inside the object that the workload was read from, of a finding of the verdict on it; empty where
// the finding is about the hop, whose fields are in another object.
func (w *Workload) FieldOf(f delegation.Finding) string {
	if f.Node != "" || f.Field != requiresField {
		return ""
	}
	return w.Field(f.Field)
}
