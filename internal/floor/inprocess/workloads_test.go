package inprocess

import (
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// mayUse is the right to use the hop of all these workloads.
const mayUse = "use delegationhops/look"

// workloadRules are about what declares a hop.
var workloadRules = map[string]tried{
	"declared-by": {
		idle: create(job()),
		rows: map[string]row{
			"another user": {"names another user", create(job(stamped("bob"))), create(job(stamped(root, masters)))},
			"nobody":       {"names another user", create(job(stamped(""))), create(job(stamped(root, masters)))},
			"a pod":        {"names another user", create(hopPod(podNoted(v1alpha1.AnnotationDeclaredBy))), create(hopPod(podNoted("note")))},
			"more groups": {
				"other groups than yours", create(job(stamped(eve, "team", masters)), byTeam), create(job(stamped(eve, "team")), byTeam),
			},
			"fewer groups": {"other groups than yours", create(job(stamped(eve)), byTeam), create(job(stamped(eve, "team")), byTeam)},
			"odd groups": {
				"other groups than yours", create(job(stamped(eve, odd[0], odd[1])), by(eve, odd...), may(mayUse)),
				create(job(stamped(eve, odd...)), by(eve, odd...), may(mayUse)),
			},
			"implied groups": {
				"other groups than yours", create(job(stamped(eve, "system:serviceaccounts:a")), by(eve, "system:serviceaccounts:a"), may(mayUse)),
				create(job(stamped(eve)), by(eve, "system:serviceaccounts:a"), may(mayUse)),
			},
			"which hop, later": {
				"names another user", update(job(stamped(root, masters)), declaredFor("2"), by(eve)),
				update(job(noted[*batchv1.Job](v1alpha1.AnnotationDeclaredBy, root)), declaredFor("1"), by(ours)),
			},
			"gone": {
				"or is gone", update(job(stamped(root, masters)), func(j *batchv1.Job) { j.Annotations = nil }, by(eve)),
				update(job(stamped(root, masters)), func(j *batchv1.Job) { j.Annotations, j.Spec.Template.Labels = nil, nil }, by(eve)),
			},
			"gone from a CronJob": {
				"or is gone", update(cronJob(noted[*batchv1.CronJob](v1alpha1.AnnotationDeclaredBy, root)), unnoted, by(eve)),
				update(cronJob(noted[*batchv1.CronJob]("note", "x")), unnoted, by(eve)),
			},
			"later": {
				"names another user", update(job(stamped(root, masters)), stamped("bob", masters), by(eve)),
				update(job(stamped(root, masters)), noted[*batchv1.Job]("note", "x"), by(eve)),
			},
		},
		worst: map[string]row{"many groups": {
			"other groups than yours", create(job(fullJob, stamped(eve)), by(eve, many(256, 1024)...), may(mayUse)),
			create(job(fullJob, stamped(eve, many(256, 1024)...)), by(eve, many(256, 1024)...), may(mayUse)),
		}},
	},
	"declared-jobs": {
		idle: update(plainJob(), jobOwnedBy("1")),
		rows: map[string]row{
			"its owner":     {"stays as it is", update(job(), jobOwnedBy("1")), update(plainJob(), jobOwnedBy("1"))},
			"another owner": {"stays as it is", update(job(jobOwnedBy("1")), jobOwnedBy("2")), update(job(jobOwnedBy("1")), started)},
			"a stamp by its status": {
				"not written by a status", update(job(), stamped("bob"), at("status")), update(job(), noted[*batchv1.Job]("note", "x"), at("status")),
			},
			"of a CronJob by its status": {
				"not written by a status", update(cronJob(), noted[*batchv1.CronJob](v1alpha1.AnnotationDeclaredBy, "bob"), at("status")),
				update(cronJob(), noted[*batchv1.CronJob]("note", "x"), at("status")),
			},
		},
		worst: map[string]row{"a full Job": {
			"stays as it is", update(job(fullJob, jobOwnedBy("1")), jobOwnedBy("2")), update(job(fullJob, jobOwnedBy("1")), started),
		}},
	},
	"templates": {
		idle: create(job()),
		rows: map[string]row{
			"of a Job": {"the ServiceAccount belongs to a hop", create(job(runsAs(account))), create(job(runsAs("default")))},
			"of a CronJob": {
				"the ServiceAccount belongs to a hop",
				create(cronJob(func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template.Spec.ServiceAccountName = account })),
				create(cronJob()),
			},
			"of others": {"the ServiceAccount belongs to a hop", create(podTemplate(account)), create(podTemplate("default"))},
		},
	},
	"use-by-pods": {
		idle: create(pod("x"), by(eve)),
		rows: map[string]row{
			"a user": {
				`hop "look" may not be used: NotPermittedToUse: you do not hold`, create(hopPod(), by(eve)), create(hopPod(), by(eve), may(mayUse)),
			},
			"who claims an owner": {"you do not hold", create(hopPod(ownedBy("1")), by(eve)), create(hopPod(ownedBy("1")), by(server))},
			"a controller without one": {
				`its author "` + server + `" does not hold`, create(hopPod(), by(server)), create(hopPod(ownedBy("1")), by(server)),
			},
			"who may use another": {
				"you do not hold", create(hopPod(), by(eve), may("use delegationhops/other")), create(hopPod(), by(eve), may(mayUse)),
			},
			"an owner without control": {
				"does not hold", create(hopPod(podOwnedByNobodyInControl), by(server)), create(hopPod(ownedBy("1")), by(server)),
			},
			"who may do something else": {
				"you do not hold", create(hopPod(), by(eve), may("get delegationhops/look")), create(hopPod(), by(eve), may(mayUse)),
			},
		},
		worst: map[string]row{"a full pod": {"does not hold", create(hopPod(full), by(longHop)), create(hopPod(full), by(longHop), may(mayUse))}},
	},
	"use-by-jobs": {
		idle: create(plainJob(), by(eve)),
		rows: map[string]row{
			"a user":           {"you do not hold the verb use", create(job(), by(eve)), create(job(), by(eve), may(mayUse))},
			"what runs":        {"you do not hold the verb use", update(job(), swapped, by(eve)), update(job(), scheduled, by(eve))},
			"what it requires": {"you do not hold the verb use", update(job(), requiring, by(eve)), update(job(), requiring, by(eve), may(mayUse))},
			"a hop for a Job": {
				"you do not hold the verb use", update(plainJob(), declared, by(eve)), update(plainJob(), declared, by(eve), may(mayUse)),
			},
			"what it drops": {
				"you do not hold the verb use", update(job(hosted), func(j *batchv1.Job) { j.Spec.Template.Spec.HostAliases = nil }, by(eve)),
				update(job(hosted), scheduled, by(eve)),
			},
			"what runs, by a controller": {
				"does not hold", update(job(jobOwnedBy("1")), swapped, by(server)), update(job(jobOwnedBy("1")), started, by(server)),
			},
			"who claims an owner": {"you do not hold", create(job(jobOwnedBy("1")), by(eve)), create(job(jobOwnedBy("1")), by(server))},
			"by a controller":     {"does not hold", create(job(), by(server)), create(job(jobOwnedBy("1")), by(server))},
		},
		worst: map[string]row{"a full Job": {
			"does not hold", update(job(fullJob), swapped, by(longAccount)),
			update(job(fullJob), scheduled, by(longAccount)),
		}},
	},
	"use-by-cronjobs": {
		idle: create(cronJob(func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template.Labels = nil }), by(eve)),
		rows: map[string]row{
			"what it requires": {"you do not hold the verb use", update(cronJob(), cronRequiring, by(eve)), update(cronJob(), cronRequiring)},
			"another hop":      {"you do not hold the verb use", update(cronJob(), cronOther, by(eve)), update(cronJob(), cronNone, by(eve))},
			"by a controller":  {"does not hold", create(cronJob(), by(server)), create(cronJob(cronOwned), by(server))},
			"what it drops": {
				"you do not hold the verb use", update(cronJob(cronHosted), func(c *batchv1.CronJob) { *c = *cronJob() }, by(eve)),
				update(cronJob(cronHosted), cronElsewhere, by(eve)),
			},
			"who claims an owner": {"you do not hold", create(cronJob(cronOwned), by(eve)), create(cronJob(cronOwned), by(server))},
			"a user":              {"you do not hold the verb use", create(cronJob(), by(eve)), create(cronJob(), by(eve), may(mayUse))},
			"what runs": {
				"you do not hold the verb use",
				update(cronJob(), func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image = elsewhere }, by(eve)),
				update(cronJob(), func(c *batchv1.CronJob) { c.Spec.Suspend = new(true) }, by(eve)),
			},
		},
		worst: map[string]row{"a full CronJob": {
			"does not hold", create(cronJob(fullCronJob), by(longHop)), create(cronJob(fullCronJob), by(longHop), may(mayUse)),
		}},
	},
}

// odd groups need escaping.
var odd = []string{`team "a"`, `cn=x,ou=<b>&c`, `back\slash`}

// byTeam is eve as a member of a team, who may use the hop.
func byTeam(r *request) {
	by(eve, "team")(r)
	may(mayUse)(r)
}

// stamped stamps a Job as admission does.
func stamped(by string, groups ...string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		noted[*batchv1.Job](v1alpha1.AnnotationDeclaredHop, "1")(j)
		if by != "" {
			j.Annotations[v1alpha1.AnnotationDeclaredBy] = by
		}
		if len(groups) > 0 {
			raw, err := json.Marshal(groups)
			if err != nil { // strings can always be written
				panic(err)
			}
			j.Annotations[v1alpha1.AnnotationDeclaredByGroups] = string(raw)
		}
	}
}

func jobOwnedBy(uid string) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.OwnerReferences = append(j.OwnerReferences, controlledBy(uid)) }
}

func runsAs(account string) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.Template.Spec.ServiceAccountName = account }
}

// scheduled changes when and where a Job runs, as a queue does.
func scheduled(j *batchv1.Job) {
	started(j)
	j.Spec.Template.Spec.NodeSelector = map[string]string{"a": "b"}
}

func requiring(j *batchv1.Job) {
	j.Spec.Template.Annotations = added(j.Spec.Template.Annotations, v1alpha1.AnnotationRequires, "[]")
}

func declared(j *batchv1.Job) {
	j.Spec.Template.Labels = added(j.Spec.Template.Labels, v1alpha1.LabelHop, "look")
}

func hosted(j *batchv1.Job) { j.Spec.Template.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1"}} }

// inTemplate changes the template of a CronJob like that of a Job.
func inTemplate(change func(*batchv1.Job)) func(*batchv1.CronJob) {
	return func(c *batchv1.CronJob) {
		j := &batchv1.Job{Spec: c.Spec.JobTemplate.Spec}
		change(j)
		c.Spec.JobTemplate.Spec = j.Spec
	}
}

var (
	cronRequiring, cronHosted, cronElsewhere = inTemplate(requiring), inTemplate(hosted), inTemplate(scheduled)

	cronOther = inTemplate(func(j *batchv1.Job) { j.Spec.Template.Labels = map[string]string{v1alpha1.LabelHop: "other"} })
	cronNone  = inTemplate(func(j *batchv1.Job) { j.Spec.Template.Labels = nil })
)

func unnoted(c *batchv1.CronJob) { c.Annotations = nil }

func cronOwned(c *batchv1.CronJob) { c.OwnerReferences = append(c.OwnerReferences, controlledBy("1")) }

func podTemplate(account string) *corev1.PodTemplate {
	p := &corev1.PodTemplate{ObjectMeta: named("t"), Template: template()}
	p.Template.Spec.ServiceAccountName = account
	return p
}
