// pg-boss, with batches, bursts and LISTEN/NOTIFY.
const { PgBoss } = require('pg-boss')
const { URL, main } = require('./speaking.cjs')

let boss

async function start (options) {
  // Upkeep and schedules would only take from the rate.
  boss = new PgBoss({ connectionString: URL, supervise: false, schedule: false, ...options })
  boss.on('error', error => console.error(error.message))
  await boss.start()
}

main({
  prepare: async () => {
    await start()
    await boss.createQueue('noop', { notify: true })
  },
  open: start,
  enqueue: i => boss.send('noop', { i }),
  enqueueMany: numbers => boss.insert('noop', numbers.map(i => ({ data: { i } }))),
  work: async started => {
    await start({ useListenNotify: true })
    const options = { batchSize: 500, localConcurrency: 2, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true }
    await boss.work('noop', options, async jobs => { for (const job of jobs) started(job.data.i) })
  }
})
