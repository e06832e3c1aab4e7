// Command chart writes those templates of charts/wayleave that are made of config: kinds, rights, policies and webhooks have one source.
// What only an installation has, such as Deployments, is written in the chart, and config/manager is rendered from it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	config    = "config"
	templates = "charts/wayleave/templates"
)

// header is the first line of each template that is written here.
const header = "{{- /* Made of config by make generate. */ -}}\n"

// replacement changes a line of a manifest into what the template says instead.
type replacement struct {
	line *regexp.Regexp
	with string
}

// template is made of some files, in this order.
type template struct {
	name string
	// files are those below config; without any they are the policies.
	files []string
	// when has the condition of a file, as the template language has it; files without one are always installed.
	when    map[string]string
	replace []replacement
}

const byRotation = `eq .Values.certificate.from "rotation"`

var all = []template{
	{
		name: "crds.yaml",
		files: []string{
			"crd/bases/delegation.wayleave.dev_delegationpaths.yaml", "crd/bases/delegation.wayleave.dev_delegationhops.yaml",
			"crd/bases/delegation.wayleave.dev_delegationapprovals.yaml",
		},
		when: map[string]string{"": ".Values.crds.install"},
		replace: []replacement{{
			regexp.MustCompile(`(?m)^(    controller-gen\.kubebuilder\.io/version: .*)$`),
			"$1\n    {{- if .Values.crds.keep }}\n    helm.sh/resource-policy: keep\n    {{- end }}",
		}},
	},
	{
		name: "rbac.yaml",
		files: []string{
			"rbac/controller.yaml", "rbac/webhook.yaml", "rbac/starter.yaml", "rbac/roles.yaml",
			"rbac/certs.yaml", "rbac/metrics.yaml", "warn/webhook.yaml",
		},
		when: map[string]string{
			"rbac/certs.yaml": byRotation, "rbac/metrics.yaml": ".Values.metrics.enabled", "warn/webhook.yaml": `eq .Values.enforce "warn"`,
		},
	},
	{
		name: "policies.yaml",
		when: map[string]string{"": ".Values.policies.install"},
		replace: []replacement{{
			regexp.MustCompile(`(?m)^(  policyName: use-by-[a-z]+\.delegation\.wayleave\.dev\n  validationActions: )\[Deny, Audit\]$`),
			`$1{{ include "wayleave.actions" . }}`,
		}},
	},
	{
		name:  "admission.yaml",
		files: []string{"webhook/secret.yaml", "webhook/service.yaml", "webhook/mutating.yaml", "webhook/validating.yaml"},
		when:  map[string]string{"webhook/secret.yaml": byRotation},
		replace: []replacement{
			{regexp.MustCompile(`(?m)^(kind: (?:Mutating|Validating)WebhookConfiguration\nmetadata:\n  name: wayleave)$`),
				`$1{{ include "wayleave.injectCA" . | nindent 2 }}`},
			{regexp.MustCompile(`(?m)^(    service: \{namespace: .*\})$`), `$1{{ include "wayleave.caBundle" . | nindent 4 }}`},
		},
	},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// run writes the templates and the README. With the argument manager it writes what helm template has printed instead.
func run(args []string) error {
	if slices.Equal(args, []string{"manager"}) {
		return writeManager(os.Stdin)
	}
	if len(args) > 0 {
		return fmt.Errorf("%q is not an argument: it takes none, or manager", args)
	}
	errs := []error{writeReadme()}
	for _, t := range all {
		if len(t.files) == 0 {
			var err error
			if t.files, err = policies(); err != nil {
				return err
			}
		}
		errs = append(errs, t.write())
	}
	return errors.Join(errs...)
}

// policies are the files of config/policy, each of which is one.
func policies() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(config, "policy", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("finding the policies: %w", err)
	}
	var files []string
	for _, path := range paths {
		if name := filepath.Base(path); name != "kustomization.yaml" {
			files = append(files, "policy/"+name)
		}
	}
	return files, nil
}

func (t template) write() error {
	var text strings.Builder
	text.WriteString(header)
	for _, file := range t.files {
		raw, err := os.ReadFile(filepath.Join(config, file))
		if err != nil {
			return fmt.Errorf("reading a manifest: %w", err)
		}
		content := strings.TrimPrefix(string(raw), "---\n")
		if strings.Contains(content, "{{") {
			return fmt.Errorf("%s has {{, which the chart would take for its own", file)
		}
		for _, r := range t.replace {
			content = r.line.ReplaceAllString(content, r.with)
		}
		text.WriteString(conditional(t.when, file, "---\n"+content))
	}
	if err := os.WriteFile(filepath.Join(templates, t.name), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("writing a template: %w", err)
	}
	return nil
}

// conditional has a file be installed under its condition, or that of all files.
func conditional(when map[string]string, file, content string) string {
	condition, ok := when[file]
	if !ok {
		condition, ok = when[""]
	}
	if !ok {
		return content
	}
	return fmt.Sprintf("{{- if %s }}\n%s{{- end }}\n", condition, content)
}
