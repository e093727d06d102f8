#!/bin/bash
# A Slurm cluster of one node in a folder: munged, slurmctld, slurmd, without systemd, accounts or cgroups.
#
#   tests/scaling/slurm_cluster.sh start FOLDER    then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/scaling/slurm_cluster.sh stop FOLDER
#
# Needs Debian's slurm-wlm and munge, and root (slurmd starts jobs as their users). For trying `slonik launch` out, and for
# tests/scaling/test_slurm_cluster.py. The node has two CPUs of Slurm's, however many the machine has.
set -eu
action=$1; folder=$(realpath -m "$2"); host=$(hostname -s)
port=$((18000 + $(echo "$folder" | cksum | cut -d' ' -f1) % 1000 * 2))

start() {
    mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
    chmod 755 "$folder" "$folder/munge"
    [ -s "$folder/munge/key" ] || (umask 077; head -c 1024 /dev/urandom > "$folder/munge/key")
    cat > "$folder/slurm.conf" <<CONF
ClusterName=slonik
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
# A job that is put back waits until its old credential has expired: two minutes by default.
AuthInfo=socket=$folder/munge/socket,cred_expire=20
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
InactiveLimit=0
MinJobAge=600
KillWait=10
SlurmdTimeout=300
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
CONF
    munged --force --key-file "$folder/munge/key" --socket "$folder/munge/socket" --pid-file "$folder/munge/pid" \
        --log-file "$folder/munge/log" --seed-file "$folder/munge/seed"
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF" -N "$host"
    for _ in $(seq 60); do
        if sinfo --noheader --format %t 2>/dev/null | grep -q idle; then echo "export SLURM_CONF=$SLURM_CONF"; return 0; fi
        sleep 1
    done
    echo "the node did not come up: see $folder/slurmctld.log and $folder/slurmd.log" >&2
    return 1
}

stop() {
    for name in slurmd slurmctld munge/pid; do
        file="$folder/$name"; [ -f "$file" ] || file="$folder/$name.pid"
        [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
}

"$action"
