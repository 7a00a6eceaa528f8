{{- /*
Every right of the operator, said once: for a ClusterRole when all namespaces are watched, for a Role in each namespace otherwise.
tests/charts proves on a real API server that each of these is granted and that what stands beside them is not.
*/ -}}
{{- define "operator.rights" -}}
# The resource: kopf adds and removes the finalizer, the operator an annotation that was answered. It never creates or deletes one.
- apiGroups: [tradingsystem.dev]
  resources: [tradingsystems]
  verbs: [get, list, watch, patch]
- apiGroups: [tradingsystem.dev]
  resources: [tradingsystems/status]
  verbs: [patch]
# An owner reference with blockOwnerDeletion needs it, where the cluster enforces that.
- apiGroups: [tradingsystem.dev]
  resources: [tradingsystems/finalizers]
  verbs: [update]
# What a system is made of: created, applied, repaired, pruned.
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# By name only: credentials of the message server are made once, those of brokers are looked for. They are never listed, watched or deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
# Why a workload is not ready: its pods and its volumes say so. A pod of an old revision that will never be ready is deleted, as a StatefulSet does not.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
