{{- /* What the Deployments of all processes have in common. Called with root, name, values (those of the process). */ -}}
{{- define "wayleave.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: wayleave-{{ .name }}
  namespace: {{ include "wayleave.namespace" .root }}
  labels:
    {{- include "wayleave.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels:
      {{- include "wayleave.selector" .name | nindent 6 }}
  # A rollout never has fewer replicas that answer.
  strategy:
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  template:
    metadata:
      labels:
        {{- include "wayleave.labels" (dict "root" .root "component" .name) | nindent 8 }}
        {{- with .values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: wayleave-{{ .name }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      terminationGracePeriodSeconds: 30
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      {{- with .values.nodeSelector | default .root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations | default .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      # Replicas on different nodes and in different zones, where there are several.
      topologySpreadConstraints:
      {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
      - maxSkew: 1
        topologyKey: {{ . }}
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels:
            {{- include "wayleave.selector" $.name | nindent 12 }}
      {{- end }}
      containers:
      - name: {{ .name }}
        image: {{ include "wayleave.image" .root | quote }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args:
        - {{ .name }}
        {{- range .args }}
        - {{ . }}
        {{- end }}
        {{- with .root.Values.metrics.enabled }}
        - --metrics-bind-address=:8443
        {{- end }}
        {{- with .root.Values.logLevel }}
        - --zap-log-level={{ . }}
        {{- end }}
        {{- range .values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
        ports:
        {{- range .ports }}
        - name: {{ .name }}
          containerPort: {{ .port }}
        {{- end }}
        - name: health
          containerPort: 8081
        {{- if .root.Values.metrics.enabled }}
        - name: metrics
          containerPort: 8443
        {{- end }}
        livenessProbe:
          httpGet:
            path: /healthz
            port: health
          initialDelaySeconds: 10
          periodSeconds: 10
        readinessProbe:
          httpGet:
            path: /readyz
            port: health
          periodSeconds: 2
        {{- if .drain }}
        # The API server still calls a replica that ends until it learns that it does.
        lifecycle:
          preStop:
            sleep:
              seconds: 5
        {{- end }}
        {{- with .values.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            drop: [ALL]
        {{- with .mounts }}
        volumeMounts:
        {{- range . }}
        - name: {{ .name }}
          mountPath: {{ .path }}
          readOnly: true
        {{- end }}
        {{- end }}
      {{- with .mounts }}
      volumes:
      {{- range . }}
      - name: {{ .name }}
        {{- toYaml .source | nindent 8 }}
      {{- end }}
      {{- end }}
{{- if .root.Values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: wayleave-{{ .name }}
  namespace: {{ include "wayleave.namespace" .root }}
  labels:
    {{- include "wayleave.labels" (dict "root" .root "component" .name) | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "wayleave.selector" .name | nindent 6 }}
{{- end }}
{{- end -}}
