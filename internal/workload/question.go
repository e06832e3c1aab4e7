package workload

import "github.com/wayleave/wayleave/internal/delegation"

// Question is the workload as a verdict looks at it. FromTemplate says whether a built-in controller creates it out of
// its owner's template, and use whether its author may use the hop.
func (w *Workload) Question(fromTemplate bool, use delegation.Answer) *delegation.Workload {
	question := &delegation.Workload{
		Kinds: w.Kinds(fromTemplate), Template: w.Template, ServiceAccountName: w.Spec.ServiceAccountName,
		Images: Images(&w.Spec), Use: use,
	}
	rules, err := w.Requires()
	if err != nil {
		question.RequiresProblem = err.Error()
	}
	question.Requires = rules
	return question
}
