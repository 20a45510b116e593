{{- define "oncesink.name" -}}
{{- .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name (.Values.nameOverride | default .Chart.Name)) (contains (.Values.nameOverride | default .Chart.Name) .Release.Name)) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "oncesink.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "oncesink.labels" -}}
{{ include "oncesink.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "oncesink.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "oncesink.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "oncesink.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The configuration as JSON: what is given, and under it what the chart says. */ -}}
{{- define "oncesink.config" -}}
{{- $config := .Values.config -}}
{{- if kindIs "string" $config -}}
{{- $config = fromYaml $config -}}
{{- if hasKey $config "Error" -}}{{- fail (printf "config is not YAML: %s" $config.Error) -}}{{- end -}}
{{- end -}}
{{- if not $config -}}
{{- fail "config is empty: give oncesink's configuration, for example with --set-file config=orders.yaml" -}}
{{- end -}}
{{- $ours := dict "admin" (dict "listen" (printf ":%d" (int .Values.admin.port)) "page" .Values.admin.page) -}}
{{- if eq .Values.workload "StatefulSet" -}}
{{- $_ := set $ours "kafka" (dict "instance_id" "${POD_NAME}") -}}
{{- end -}}
{{- mergeOverwrite $ours $config | toJson -}}
{{- end -}}

{{- /* limits.stop_timeout in seconds, and ten more. */ -}}
{{- define "oncesink.grace" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{ int .Values.terminationGracePeriodSeconds }}
{{- else -}}
{{- $stop := dig "limits" "stop_timeout" "20s" (include "oncesink.config" . | fromJson) | toString -}}
{{- if regexMatch "^[0-9]+s$" $stop -}}
{{ add (trimSuffix "s" $stop | int) 10 }}
{{- else if regexMatch "^[0-9]+m$" $stop -}}
{{ add (mul (trimSuffix "m" $stop | int) 60) 10 }}
{{- else -}}
{{- fail (printf "limits.stop_timeout is %s, which the chart can't read: set terminationGracePeriodSeconds to ten seconds more" $stop) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The volumes and mounts of a list of secrets. */ -}}
{{- define "oncesink.secretVolumes" -}}
{{- range . }}
- name: secret-{{ .name }}
  secret:
    secretName: {{ .secretName }}
    defaultMode: 288 # 0440
{{- end }}
{{- end -}}

{{- define "oncesink.secretMounts" -}}
{{- range . }}
- name: secret-{{ .name }}
  mountPath: /run/secrets/oncesink/{{ .name }}
  readOnly: true
{{- end }}
{{- end -}}
