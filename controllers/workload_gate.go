package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/workload"
)

// gatedPod is a pod that waits at the gate, and what was decided about it.
type gatedPod struct {
	pod *corev1.Pod
	facts.Declaration
	// refused is why it may not start; nil if it may.
	refused *delegation.Finding
}

// judgedAtOnce bounds how many pods one pass decides about: who may use a hop may create as many as they like.
const judgedAtOnce = 256

// podsOf are the pods that declare a hop.
func (r *HopReconciler) podsOf(ctx context.Context, hop types.NamespacedName) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := r.hops.List(ctx, &list, client.MatchingFields{declaredIndex: hop.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the pods of hop %s: %w", hop, err)
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	return pods, nil
}

// judgeAll decides about the pods at the gate, and counts in the next status the uses that begin. A pod that waits at another
// gate, too, is decided about when it waits at this one alone: what it would be given then is bounded by the time that is left.
func (r *HopReconciler) judgeAll(ctx context.Context, p *pass) {
	found, judged := facts.Declarations{Live: r.live}, 0
	for _, pod := range atGate(p) {
		g := gatedPod{pod: pod, refused: delegation.TooManyLiveUses(p.next, facts.UseUID(pod))}
		if g.refused != nil { // nothing has to be read for one that waits, and there may be many
			p.atGate = append(p.atGate, g)
			continue
		}
		if judged == judgedAtOnce {
			p.again = delegation.Sooner(p.again, useSoon)
			return
		}
		judged++
		var err error
		if g.Declaration, g.refused, err = found.Of(ctx, pod); err == nil && g.refused == nil {
			g.refused, err = r.judge(ctx, p, g)
		}
		if err != nil {
			p.again = delegation.Sooner(p.again, useSoon)
			g.refused = unanswered(err)
		}
		p.atGate = append(p.atGate, g)
	}
}

// atGate are the pods that wait at no other gate: first those of the uses that live, which hold up nobody, then the oldest.
func atGate(p *pass) []*corev1.Pod {
	pods := slices.DeleteFunc(slices.Clone(p.pods), func(pod *corev1.Pod) bool {
		return !pod.DeletionTimestamp.IsZero() || !workload.IsGated(pod) || workload.IsHeldByOthers(pod)
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		first := func(pod *corev1.Pod) int {
			if delegation.LiveUse(p.next, facts.UseUID(pod)) != nil {
				return 0
			}
			return 1
		}
		return cmp.Or(first(a)-first(b), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return pods
}

// judge decides about one pod, and counts its use in the next status if it begins with the pod.
func (r *HopReconciler) judge(ctx context.Context, p *pass, g gatedPod) (*delegation.Finding, error) {
	hop := p.hop()
	if f := r.heldBack(p, g); f != nil {
		return f, nil
	}
	w, err := workload.From(g.pod)
	if err != nil {
		return nil, err
	}
	in := p.in
	in.Workload = g.Question(w, p.mayUse(ctx, g.Stamp.Author))
	if v := delegation.Evaluate(in); v.Outcome != delegation.Allow {
		return &v.Findings[0], nil
	}
	if f := w.Misassigned(hop.Status.ServiceAccountName, w.Audiences(in)); f != nil {
		return f, nil
	}
	if err := r.pin(ctx, hop, g); err != nil {
		return nil, err
	}
	return delegation.BeginUse(p.next, hop, g.Use, p.in.Now), nil
}

// mayUse answers whether an author may still use the hop. Each author is asked about once in a pass.
func (p *pass) mayUse(ctx context.Context, author v1alpha1.Subject) delegation.Answer {
	key := subjectKey(author)
	answer, known := p.authors[key]
	if !known {
		answer = p.gather.StillMayUse(ctx, author, delegation.HopKey(p.hop()))
		if p.authors == nil {
			p.authors = map[string]delegation.Answer{}
		}
		p.authors[key] = answer
	}
	return answer
}

// subjectKey tells subjects apart.
func subjectKey(s v1alpha1.Subject) string {
	return fmt.Sprintf("%q", append([]string{s.User}, s.Groups...))
}

// heldBack says why a pod does not start that nothing else has to be asked about; nil if something has.
func (r *HopReconciler) heldBack(p *pass, g gatedPod) *delegation.Finding {
	hop := p.hop()
	if last := r.waits.refusal(g.Use.UID); last != nil {
		return last
	}
	switch {
	case g.pod.Spec.ServiceAccountName != hop.Status.ServiceAccountName:
		return &superseded
	case g.Elsewhere(hop) != nil:
		return g.Elsewhere(hop)
	case g.Outdated(p.next) != nil:
		return g.Outdated(p.next)
	case g.Job == nil:
		return nil
	case g.Job.Annotations[v1alpha1.AnnotationUseEnded] != "":
		return &delegation.Finding{
			Reason: v1alpha1.ReasonDurationExceeded, Message: "its use has lasted as long as the hop allows, and was ended: create a new Job",
		}
	case suspended(g.Job):
		return &delegation.Finding{Reason: v1alpha1.ReasonSuspended, Message: "its Job is suspended"}
	}
	return nil
}

// superseded is why a pod cannot run whose account was replaced. Its Job makes another one.
var superseded = delegation.Finding{
	Reason: v1alpha1.ReasonWrongServiceAccount, Message: "the account of the hop was replaced while the pod was created: it takes another pod",
}

// pin names the hop in the stamp of a Job or CronJob that was created before the hop was: one that is recreated is another hop.
func (r *HopReconciler) pin(ctx context.Context, hop *v1alpha1.DelegationHop, g gatedPod) error {
	if g.Stamp.HopUID != "" {
		return nil
	}
	patch := jobPatch{Metadata: jobPatchMeta{
		UID: g.Stamped.GetUID(), ResourceVersion: g.Stamped.GetResourceVersion(),
		Annotations: map[string]any{v1alpha1.AnnotationDeclaredHop: hop.UID},
	}}
	if err := r.stopper.patch(ctx, g.Stamped, patch); err != nil {
		return fmt.Errorf("naming the hop on what declares it: %w", err)
	}
	return nil
}
