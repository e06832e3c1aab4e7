{{- /* Names are fixed: the policies and the processes know each other by them. So there is one installation in a cluster. */ -}}
{{- define "wayleave.namespace" -}}
{{- if ne .Release.Namespace "wayleave-system" -}}
{{- fail (printf "Wayleave runs in the namespace wayleave-system alone, since its policies name its accounts there: install it with --namespace wayleave-system, not %s" .Release.Namespace) -}}
{{- end -}}
wayleave-system
{{- end -}}

{{- define "wayleave.labels" -}}
app.kubernetes.io/name: wayleave
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "wayleave.selector" -}}
app.kubernetes.io/name: wayleave
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{- define "wayleave.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "wayleave.certificate" -}}
{{- if and (eq .Values.certificate.from "rotation") (ne .Values.certificate.secretName "wayleave-webhook-cert") -}}
{{- fail "certificate.secretName: with certificate.from=rotation it is wayleave-webhook-cert, which is all that the process certs may write" -}}
{{- end -}}
{{ .Values.certificate.secretName }}
{{- end -}}

{{- /* Who signs the webhook's certificate, where nobody writes it into the webhook configurations later. */ -}}
{{- define "wayleave.caBundle" -}}
{{- if eq .Values.certificate.from "secret" }}
caBundle: {{ .Values.certificate.caBundle | required "certificate.caBundle: with certificate.from=secret, give the PEM certificates that sign the one in the Secret" | b64enc }}
{{- end }}
{{- end -}}

{{- /* cert-manager writes it. */ -}}
{{- define "wayleave.injectCA" -}}
{{- if eq .Values.certificate.from "certManager" }}
annotations:
  cert-manager.io/inject-ca-from: {{ include "wayleave.namespace" . }}/wayleave-webhook
{{- end }}
{{- end -}}

{{- /* What the policies do that ask who declares a hop on a workload. */ -}}
{{- define "wayleave.actions" -}}
{{- if eq .Values.enforce "warn" -}}
[Warn, Audit]
{{- else -}}
[Deny, Audit]
{{- end -}}
{{- end -}}
