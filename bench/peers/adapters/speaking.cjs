// The part every adapter in Node shares; see speaking.py, whose actions and answers these are.
const fs = require('node:fs')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const URL = process.env.BENCH_URL
const BULK = 1000
const GAP_MS = 50
// How far behind the bench may be; it looks as often.
const INTERVAL_MS = 20

// As the Tally of tally.py.
function makeTally () {
  const file = path.join(process.env.BENCH_FOLDER, String(process.pid))
  let count = 0
  let first
  let starts
  let written = 0
  const write = () => {
    if (count === written) return
    written = count
    fs.writeFileSync(`${file}.new`, `${written} ${first}`)
    fs.renameSync(`${file}.new`, file)
  }
  const begin = () => {
    if (process.env.BENCH_EACH_START === '1') starts = fs.openSync(file, 'a')
    else setInterval(write, INTERVAL_MS)
  }
  return number => {
    const now = process.hrtime.bigint()
    if (count === 0) {
      first = now
      begin()
    }
    count += 1
    if (starts !== undefined) fs.writeSync(starts, `${number} ${now}\n`)
  }
}

// bigints have no JSON of their own
const say = what => console.log(JSON.stringify(what, (_, value) => typeof value === 'bigint' ? Number(value) : value))

async function timedCall (adapter, number) {
  await sleep(GAP_MS)
  const called = process.hrtime.bigint()
  await adapter.enqueue(number)
  return [called, process.hrtime.bigint()]
}

async function act (adapter, action, count) {
  if (action === 'prepare') return adapter.prepare()
  if (action === 'work') return adapter.work(makeTally())
  await adapter.open()
  if (action === 'paced') {
    const calls = []
    for (let number = 0; number < count; number++) calls.push(await timedCall(adapter, number))
    return say({ calls })
  }
  const began = performance.now()
  if (action === 'single') {
    for (let number = 0; number < count; number++) await adapter.enqueue(number)
  } else if (action === 'bulk') {
    for (let first = 0; first < count; first += BULK) {
      const length = Math.min(BULK, count - first)
      await adapter.enqueueMany(Array.from({ length }, (_, index) => first + index))
    }
  } else throw new Error(`no such action: ${action}`)
  say({ seconds: (performance.now() - began) / 1000 })
}

async function main (adapter) {
  const action = process.argv[2]
  await act(adapter, action, Number(process.argv[3] || 0))
  if (action !== 'work') process.exit(0)
}

module.exports = { URL, main }
