//go:build unix

package queues

import (
	"fmt"
	"strings"
	"testing"
)

const queue = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: batch}
spec:
  nodeLabels: {example.com/pool: batch}
  tolerations: [{key: example.com/batch, operator: Exists, effect: NoSchedule}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: all}
spec:
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [cpu]
    flavors: [{name: batch, resources: [{name: cpu, nominalQuota: 100}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: queue, namespace: incident-response}
spec: {clusterQueue: all}
`

const hop = `
apiVersion: delegation.wayleave.dev/v1alpha1
kind: DelegationPath
metadata: {name: NAME, namespace: incident-response}
spec:
  reason: See what runs in payments
  lifetime: {duration: 1h}
  scope:
    namespaced:
    - namespaces: [payments]
      rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: delegation.wayleave.dev/v1alpha1
kind: DelegationHop
metadata: {name: NAME, namespace: incident-response}
spec:
  pathRef: {name: NAME}
  inheritScope: true
  workload: {kinds: [Job], images: ["registry.example.com/agent:*"], maxUses: USES}
`

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, namespace: incident-response, labels: {kueue.x-k8s.io/queue-name: queue}}
spec:
  template:
    metadata: {labels: {delegation.wayleave.dev/hop: HOP}}
    spec:
      restartPolicy: Never
      containers: [{name: agent, image: "registry.example.com/agent:1.0", resources: {requests: {cpu: 1}}}]
`

// rack is a queue that chooses the nodes of each pod itself: it holds pods at a gate of its own. The node is no more than an object.
const rack = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: Topology
metadata: {name: racks}
spec: {levels: [{nodeLabel: example.com/rack}]}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: rack}
spec:
  nodeLabels: {example.com/pool: rack}
  topologyName: racks
  tolerations: [{operator: Exists}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: rack}
spec:
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [cpu]
    flavors: [{name: rack, resources: [{name: cpu, nominalQuota: 100}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: rack, namespace: incident-response}
spec: {clusterQueue: rack}
---
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {example.com/pool: rack, example.com/rack: r1}}
`

// ready is the status of the node.
const ready = `{"status":{"capacity":{"cpu":"8","pods":"99"},"allocatable":{"cpu":"8","pods":"99"},` +
	`"conditions":[{"type":"Ready","status":"True","reason":"Test"}]}}`

// jobSet says that somebody else declares its hop, which counts as little as in a Job.
const jobSet = `
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: NAME, namespace: incident-response, labels: {LABELS}}
spec:
  replicatedJobs:
  - name: workers
    template:
      metadata: {annotations: {delegation.wayleave.dev/declared-by: alice@example.com}}
      spec:
        template:
          metadata: {labels: {delegation.wayleave.dev/hop: HOP}}
          spec:
            restartPolicy: Never
            containers: [{name: agent, image: "registry.example.com/agent:1.0", resources: {requests: {cpu: 1}}}]
`

// rights let alert-bot create JobSets, and the JobSet controller use one hop.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sets, namespace: incident-response}
rules:
- {apiGroups: [jobset.x-k8s.io], resources: [jobsets], verbs: [get, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sets, namespace: incident-response}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sets}
subjects: [{kind: ServiceAccount, name: alert-bot, namespace: incident-response}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: use-gang, namespace: incident-response}
rules:
- {apiGroups: [delegation.wayleave.dev], resources: [delegationhops], resourceNames: [gang], verbs: [use]}
`

// lets gives the JobSet controller the use of the hop gang.
const lets = "kubectl -n incident-response create rolebinding use-gang --role=use-gang " +
	"--serviceaccount=jobset-system:jobset-controller-manager"

const bot = "system:serviceaccount:incident-response:alert-bot"

func TestQueues(t *testing.T) {
	s := newSite(t)
	s.install(jobset)
	s.install(kueue)
	s.applies("admin", queue)
	s.applies("admin", rights)
	for _, m := range []manager{kueue, jobset} {
		may, _ := s.tries("admin", "kubectl auth can-i use delegationhops.delegation.wayleave.dev -n incident-response --as="+m.user())
		if strings.TrimSpace(may) == "yes" {
			t.Fatalf("%s may use hops", m.user())
		}
	}
	s.runsAndIsEvicted()
	s.waitsForPath()
	s.waitsForRight()
	s.hasNoUseLeft()
	s.runsJobSets()
	s.runsInRack()
}

// runsAndIsEvicted: a Job that Kueue starts runs under its hop on the right of the user who created it, and is the same use when it
// is evicted and started again.
func (s *site) runsAndIsEvicted() {
	s.hop("look", 1)
	s.applies("alert-bot", strings.NewReplacer("NAME", "look", "HOP", "look").Replace(job))
	s.runs("look", bot, "batch")
	first := s.shows("job/look", "{.metadata.annotations}")
	s.becomes("dhop/look", "{.status.uses.summary} {.status.uses.live[*].by}", "1/1 "+bot)

	s.stop("HoldAndDrain")
	s.becomes("job/look", "{.spec.suspend}", "true")
	s.becomes("pods -l job-name=look", "{.items[*].metadata.name}", "")
	s.stop("None")
	s.runs("look", bot, "batch")
	s.becomes("dhop/look", "{.status.uses.summary} {.status.uses.live[*].by}", "1/1 "+bot)
	if second := s.shows("job/look", "{.metadata.annotations}"); second != first {
		s.Errorf("Kueue changed the annotations of a Job:\n%s\n%s", first, second)
	}
}

// waitsForPath: Kueue starts again what is suspended with its path, but no pod runs before the path is resumed.
func (s *site) waitsForPath() {
	s.types("alert-bot", `kubectl -n incident-response patch dpath look --type=merge -p '{"spec":{"suspend":true}}'`)
	s.tells("Job", "look", "FailedCreate", `hop "look" of path "incident-response/look" may not be used: Suspended: the path is suspended`)
	s.becomes("pods -l job-name=look", "{.items[*].metadata.name}", "")
	s.types("alert-bot", `kubectl -n incident-response patch dpath look --type=merge -p '{"spec":{"suspend":false}}'`)
	s.runs("look", bot, "batch")
	s.becomes("job/look", `{.metadata.annotations.delegation\.wayleave\.dev/suspended-for}`, "")
}

// waitsForRight: of a Job in a queue, the right of the user who created it is asked for when Kueue starts it.
func (s *site) waitsForRight() {
	s.hop("late", 1)
	s.stop("Hold")
	s.applies("alert-bot", strings.NewReplacer("NAME", "late", "HOP", "late").Replace(job))
	s.becomes("job/late", "{.spec.suspend}", "true")
	s.types("admin", "kubectl -n incident-response delete rolebinding alert-bot")
	s.stop("None")
	s.tells("Job", "late", "NotPermittedToUse", bot)
	s.types("admin", "kubectl apply -f config/samples/ceiling.yaml")
	s.runs("late", bot, "batch")
}

// hasNoUseLeft: of two Jobs that wait in a queue for the one use of a hop, one runs. Kueue starts the other again and again.
func (s *site) hasNoUseLeft() {
	s.hop("once", 1)
	s.stop("Hold")
	for _, name := range []string{"once-a", "once-b"} {
		s.applies("alert-bot", strings.NewReplacer("NAME", name, "HOP", "once").Replace(job))
	}
	s.stop("None")
	s.eventually("one of two Jobs to be refused", func() error {
		told := s.types("admin", "kubectl -n incident-response get events -o jsonpath='{.items[?(@.reason==\"UsesExhausted\")].message}'")
		if !strings.Contains(told, "1 of 1 uses of the hop have begun") {
			return fmt.Errorf("no Event says so")
		}
		return nil
	})
	s.becomes("dhop/once", "{.status.uses.summary}", "1/1")
}

// runsJobSets: the author of a Job that the JobSet controller creates is the JobSet controller, which needs the right itself.
func (s *site) runsJobSets() {
	s.hop("gang", 2)
	s.applies("alert-bot", strings.NewReplacer("NAME", "set", "HOP", "gang", "LABELS", "").Replace(jobSet))
	s.tells("JobSet", "set", "JobCreationFailed",
		`NotPermittedToUse: its author "system:serviceaccount:jobset-system:jobset-controller-manager" does not hold the verb use`)
	s.types("admin", lets)
	s.runs("set-workers-0", jobset.user(), "")

	s.applies("alert-bot", strings.NewReplacer("NAME", "queued", "HOP", "gang", "LABELS", "kueue.x-k8s.io/queue-name: queue").Replace(jobSet))
	s.runs("queued-workers-0", jobset.user(), "batch")
	s.stop("HoldAndDrain")
	s.becomes("job/queued-workers-0", "{.spec.suspend}", "true")
	s.stop("None")
	s.runs("queued-workers-0", jobset.user(), "batch")
	s.becomes("dhop/gang", "{.status.uses.summary}", "2/2")
}

// runsInRack: a pod that Kueue holds at a gate of its own passes both.
func (s *site) runsInRack() {
	s.hop("rack", 1)
	s.applies("admin", rack)
	s.types("admin", "kubectl patch node node-1 --subresource=status --type=merge -p '"+ready+"'")
	inRack := strings.NewReplacer("NAME", "rack", "HOP", "rack", "queue-name: queue", "queue-name: rack", "labels: {delegation",
		`annotations: {kueue.x-k8s.io/podset-required-topology: example.com/rack}, labels: {delegation`).Replace(job)
	s.applies("alert-bot", inRack)
	s.runs("rack", bot, "rack")
	s.becomes("job/rack", "{.spec.template.spec.schedulingGates[*].name}", "kueue.x-k8s.io/topology")
	s.becomes("pods -l job-name=rack", `{.items[*].spec.nodeSelector.example\.com/rack}`, "r1")
}

// hop applies a path and its hop with so many uses, and waits until it may be used.
func (s *site) hop(name string, uses int) {
	s.Helper()
	s.applies("alert-bot", strings.NewReplacer("NAME", name, "USES", fmt.Sprint(uses)).Replace(hop))
	s.types("alert-bot", "kubectl -n incident-response wait --for=condition=Ready --timeout=60s dhop/"+name)
}

func (s *site) applies(user, text string) {
	s.Helper()
	s.types(user, "kubectl apply -f - <<'EOF'\n"+text+"\nEOF")
}

// stop sets whether the queue admits, and evicts.
func (s *site) stop(policy string) {
	s.Helper()
	s.types("admin", fmt.Sprintf(`kubectl patch clusterqueue all --type=merge -p '{"spec":{"stopPolicy":%q}}'`, policy))
}

// shows is a JSONPath of an object, or of a list.
func (s *site) shows(object, path string) string {
	s.Helper()
	return s.types("admin", fmt.Sprintf("kubectl -n incident-response get %s -o jsonpath='%s'", object, path))
}

func (s *site) becomes(object, path, want string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s of %s to be %q", path, object, want), func() error {
		got, err := s.tries("admin", fmt.Sprintf("kubectl -n incident-response get %s -o jsonpath='%s'", object, path))
		if err == nil && strings.TrimSpace(got) != want {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// runs waits until a Job has a pod that passed the gate, as the account of a hop, on the nodes of a pool, and names its author.
func (s *site) runs(job, author, pool string) {
	s.Helper()
	s.becomes("job/"+job, `{.spec.suspend} {.metadata.annotations.delegation\.wayleave\.dev/declared-by}`, "false "+author)
	pod := "pods --field-selector=status.phase=Pending -l job-name=" + job
	s.becomes(pod, `{.items[*].spec.nodeSelector.example\.com/pool} {.items[*].spec.schedulingGates} `+
		`{.items[*].metadata.deletionTimestamp}`, pool)
	s.eventually("Job "+job+" to run as a hop", func() error {
		if account := s.shows(pod, "{.items[*].spec.serviceAccountName}"); !strings.HasPrefix(account, "dhop-") {
			return fmt.Errorf("it runs as %q", account)
		}
		return nil
	})
}

// tells waits until an Event of an object says something.
func (s *site) tells(kind, name, reason, text string) {
	s.Helper()
	s.eventually(fmt.Sprintf("an Event %s of %s %s", reason, kind, name), func() error {
		told := s.types("admin", fmt.Sprintf("kubectl -n incident-response get events --field-selector=involvedObject.kind=%s,"+
			"involvedObject.name=%s,reason=%s -o jsonpath='{.items[*].message}'", kind, name, reason))
		if !strings.Contains(told, text) {
			return fmt.Errorf("its Events say %q", told)
		}
		s.Logf("%s %s: %s: %s", kind, name, reason, told)
		return nil
	})
}
